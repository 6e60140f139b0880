"""The program as its users run it, on one state folder and one small data folder."""

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO
from unittest.mock import patch

import optuna
import pytest
import torch

from anomalyvfm_opt.cli.main import run
from anomalyvfm_opt.signals import EXIT_CODES
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.budget import Usage, count_usage
from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from anomalyvfm_opt.store.store import Store, open_store
from anomalyvfm_opt.store.studies import StudyRecord, list_studies, load_study
from anomalyvfm_opt.study.creation import create_studies
from tests.integration.forked import SERVER, ForkedProcess

CATEGORY = "brick"
Finished = subprocess.CompletedProcess[str]
Process = subprocess.Popen[str] | ForkedProcess
_OURS = "ANOMALYVFM_OPT_"
_LIMIT_S = 180.0
_LONGEST_HERE_S = 600
_TINY: dict[str, Any] = {
    "data": {"image_size_px": 64, "lock": "half"},
    "backbone": {
        "name": "tf_efficientnet_lite0",
        "weights": "offline",
        "decoder_blocks": [1, 2],
        "patch_blocks": [2, 3],
    },
    "training": {"batch_size": 4, "steps_per_epoch": 2, "warmup_steps": 1},
    "scoring": {"fit_images": 16, "memory_patches": 256, "exam_images": 9},
    "references": ["frozen", "v1.1", "v1.2"],
    "verdict": {"noise_seeds": 0},
    "search": {
        "trials": 4,
        "startup_trials": 2,
        "space": {
            "adapter": ["lora"],
            "rank": [4, 16],
            "epochs": {"low": 1, "high": 2},
            "synthesis_count": {"low": 8, "high": 16},
            "synthesis_intensity": [1.0],
        },
    },
}


def make_tiny(name: str, **changes: Any) -> dict[str, Any]:
    """A spec whose trials take a second or two; a change such as `search={"trials": 5}` is merged into it."""
    merged = {"name": name, **_TINY}
    for key, value in changes.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return merged


def write_spec(folder: Path, name: str, **changes: Any) -> Path:
    """The same as a file, in JSON, which is YAML."""
    content = make_tiny(name, **changes)
    Spec.model_validate(content)
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(content))
    return path


@dataclass(frozen=True)
class Program:
    """Runs commands on the state folder of a running cluster."""

    cluster: EmbeddedCluster
    data: Path

    @cached_property
    def store(self) -> Store:
        """The store that the commands use, to look into from here."""
        return open_store(self.cluster.url())

    def start(self, *arguments: str, **environment: str) -> Process:
        """Start a command and leave it running: as a fork, but where variables are read as a process starts.

        Others see another command line and other variables of it than of a user's: `spawn` has those. A
        `sitecustomize` in `PYTHONPATH` comes after the imports in a fork, and before them in a process of its own.
        """
        if all(name.startswith((_OURS, "PG", "NOTES", "PYTHONPATH")) for name in environment):
            return SERVER.start(arguments, self.surround(environment))
        return self.spawn(*arguments, **environment)

    def spawn(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command as its users do, which takes the seconds of importing torch, and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "anomalyvfm_opt", *arguments],
            env=self.surround(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> Finished:
        """Run a command to its end in a process of its own, for what only a process shows.

        That is: signals, several at once, variables that Python reads at its start, stdin, files left open.
        """
        return finish(self.start(*arguments, **environment))

    def run_here(self, *arguments: str, **environment: str) -> Finished:
        """Run a command in this process: the same, without the seconds that importing torch takes."""
        return run_in_process(arguments, self.surround(environment))

    def surround(self, environment: dict[str, str]) -> dict[str, str]:
        """All variables that a command finds."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return {**kept, f"{_OURS}HOME": str(self.cluster.home), **environment}

    def run_json(self, *arguments: str) -> Any:
        """Run a command that prints JSON."""
        done = self.run_here(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def create(self, spec_file: Path, data: Path | None = None) -> Finished:
        """Create the study of a spec's one category."""
        return self.run_here(
            "study", "create", str(spec_file), "--data", str(data or self.data), "--category", CATEGORY
        )

    def create_here(self, name: str, data: Path | None = None, **changes: Any) -> str:
        """Create a tiny study without a process of its own, where creation is not what is tested."""
        spec = Spec.model_validate(make_tiny(name, **changes))
        with patch.dict(os.environ, {f"{_OURS}HOME": str(self.cluster.home)}):
            return create_studies(self.store, spec, data or self.data, [CATEGORY])[0]

    def list_names(self) -> list[str]:
        """The names of all studies."""
        return [record.name for record in list_studies(self.store.engine)]

    def record(self, name: str) -> StudyRecord:
        """What the store knows of a study."""
        return load_study(self.store.engine, name)

    def usage(self, name: str) -> Usage:
        """Trials and tickets of a study."""
        return count_usage(self.store.engine, self.record(name).study_id)

    def trials(self, name: str) -> list[optuna.trial.FrozenTrial]:
        """All trials of a study."""
        return optuna.load_study(study_name=name, storage=self.store.storage).get_trials()


@dataclass(frozen=True)
class FinishedStudy:
    """A study that two workers ran to its end, and what the commands said."""

    name: str
    spec_file: Path
    created: Finished
    workers: tuple[Finished, ...]


def run_in_process(
    arguments: Sequence[str], environment: dict[str, str], streams: Mapping[str, TextIO | None] | None = None
) -> Finished:
    """Run a command here, with these variables alone; `streams` names what is in the place of stdout or stderr."""
    stdout, stderr = io.StringIO(), io.StringIO()
    standard = {"stdout": stdout, "stderr": stderr, **(streams or {})}
    with (
        _left_as_it_was(),
        _ended_in_time(),
        _warnings_shown_on(stderr),
        patch.dict(os.environ, environment, clear=True),
        patch.object(sys, "argv", ["anomalyvfm-opt", *arguments]),
        contextlib.redirect_stdout(standard["stdout"]),
        contextlib.redirect_stderr(standard["stderr"]),
        pytest.raises(SystemExit) as ended,
    ):
        run()
    return subprocess.CompletedProcess(arguments, ended.value.code or 0, stdout.getvalue(), stderr.getvalue())


class _TooLongError(BaseException):
    """Not an Exception, so that no trial takes it for its own."""


@contextlib.contextmanager
def _ended_in_time() -> Iterator[None]:
    """End a command that hangs, as `finish` ends a process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: object) -> None:
        raise _TooLongError(f"a command took longer than {_LONGEST_HERE_S} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(_LONGEST_HERE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _warnings_shown_on(stderr: io.StringIO) -> Iterator[None]:
    """Show what is logged as a process of its own does, where pytest would only catch it."""
    handler = logging.StreamHandler(stderr)
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


@contextlib.contextmanager
def _left_as_it_was() -> Iterator[None]:
    """Put back what a worker changes of its process: who hears its signals, and torch's threads."""
    handlers = {number: signal.getsignal(number) for number in EXIT_CODES}
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def finish(process: Process, limit_s: float = _LIMIT_S) -> Finished:
    """Wait for a process, and end it if it takes too long."""
    try:
        stdout, stderr = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"{process.args} did not end:\n{stdout}\n{stderr}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def wait_for(condition: Callable[[], bool], limit_s: float = _LIMIT_S) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def assert_one_error(done: Finished, exit_code: int) -> str:
    """One `error:` line, no traceback, the exit code; returns that line and what follows."""
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, done.stderr
    return done.stderr[done.stderr.index("error:") :]
