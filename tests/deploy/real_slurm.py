"""A real Slurm of one node on this host, started by deploy/try_slurm.sh, for as long as a `with` lasts."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.files import ROOT
from tests.integration.program import finish

GPUS = 2
_LIMIT_S = 400.0
_REQUEUE_S = 5  # else Slurm leaves a job that was put back alone for two minutes


@dataclass(frozen=True)
class RealSlurm:
    """What its commands say."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What commands need to find it."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PYTHONPATH": str(ROOT)}

    def ask(self, *command: str) -> str:
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=_LIMIT_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def show(self, task: str) -> dict[str, str]:
        """What is known of a task, such as `17_0`, also some minutes after its end: `JobState`, `Restarts`, ..."""
        words = self.ask("scontrol", "show", "job", task, "--oneliner").split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def is_idle(self) -> bool:
        return not self.ask("squeue", "--noheader").strip()


@contextmanager
def run_real_slurm(folder: Path, port: int) -> Iterator[RealSlurm]:
    """Start it, with pretended GPUs, and end it together with its jobs."""
    settings = {"DIR": folder, "PORT": port, "CPUS": 2, "GPUS": GPUS, "REQUEUE_S": _REQUEUE_S}
    process = subprocess.Popen(
        [str(ROOT / "deploy" / "try_slurm.sh"), "sh", "-c", "echo ready; cat"],
        env={**os.environ, **{f"TRY_SLURM_{name}": str(value) for name, value in settings.items()}},
        stdin=subprocess.PIPE,  # its end is the end of `cat`, also when this process dies
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise AssertionError(finish(process).stderr)
    try:
        yield RealSlurm(folder)
    finally:
        done = finish(process)
        assert done.returncode == 0, done.stderr
