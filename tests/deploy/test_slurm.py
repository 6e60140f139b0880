"""Workers in a real Slurm of one node, which deploy/try_slurm.sh starts on this host: `make test-slurm`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.files import ROOT
from tests.integration.program import Program, finish

pytestmark = pytest.mark.slurm

# Two workers, a notice to one of them while it has a trial, a worker killed in its job, and the end of the study.
_SCRIPT = """
set -eu
opt() { "$PYTHON" -m anomalyvfm_opt "$@"; }
job=$(opt worker launch --engine slurm --count 2 --time 10 --partition try --study "$STUDY" --device cpu)
echo "job $job"
until grep -qs completed "$ANOMALYVFM_OPT_HOME"/slurm/*/"${job}_0_0_log.out"; do sleep 1; done # on to the next one
sleep 1
scancel --signal=USR2 "${job}_0"
until squeue --noheader --array --format='%i %T' | grep -q "${job}_0 PENDING"; do sleep 1; done
echo "put back"
victim=$(pgrep -f "worker run .*--name slurm-${job}_1-1-" | tail -1)
[ -z "$victim" ] || { kill -9 "$victim"; echo "killed"; }
while [ -n "$(squeue --noheader)" ]; do sleep 1; done
scontrol show job "$job" | grep -o 'JobState=[A-Z]*\\|Restarts=[0-9]*'
cat "$ANOMALYVFM_OPT_HOME"/slurm/*/*_log.out >"$LOG"
echo "never ending"
job=$(opt worker launch --engine slurm --count 1 --time 10 --study "$STUDY" --device cpu --keep-running)
until opt worker list | grep -q "slurm-$job-"; do sleep 1; done
scancel "$job"
while [ -n "$(squeue --noheader)" ]; do sleep 1; done
scontrol show job "$job" | grep -o 'JobState=[A-Z]*'
opt worker list --all | grep "slurm-$job-"
opt worker launch --engine slurm --count 2 --time 10 --study "$STUDY" --device cpu --attach
echo "attached $?"
"""


def test_a_study_in_a_real_slurm(program: Program, tmp_path: Path) -> None:
    space = {"adapter": ["lora"], "rank": [4], "epochs": {"low": 4, "high": 4}}
    changes = {"training": {"steps_per_epoch": 20}, "search": {"trials": 6, "space": space}}
    study = program.create_here("really-slurm", references=["frozen", "v1.1"], **changes)
    log = tmp_path / "log"
    environment = {
        "ANOMALYVFM_OPT_HOME": str(program.cluster.home),
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "STUDY": study,
        "LOG": str(log),
        "TRY_SLURM_REQUEUE_S": "5",
        "TRY_SLURM_DIR": str(tmp_path / "slurm"),
    }
    command = ["env", *(f"{name}={value}" for name, value in environment.items())]
    process = subprocess.Popen(
        [*command, str(ROOT / "deploy" / "try_slurm.sh"), "sh", "-c", _SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    done = finish(process, 1200)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = done.stdout.split("never ending")
    assert "put back" in first
    states = re.findall(r"JobState=(\w+)\nRestarts=(\d)", first)
    assert sorted(states) == [("COMPLETED", "0"), ("COMPLETED", "1")]
    assert "Requeued job" in log.read_text()
    assert "Traceback" not in log.read_text()
    usage = program.usage(study)
    assert (usage.complete, usage.used, usage.running, usage.held) == (6, 6, 0, 0)
    assert "JobState=CANCELLED" in second
    assert "interrupted (143)" in second
    assert "attached 0" in second
    assert "2 DONE" in done.stderr
    password = (program.cluster.home / "postgres" / "password").read_text().strip().encode()
    files = [path for folder in (tmp_path, program.cluster.home / "slurm") for path in folder.rglob("*")]
    assert [path for path in files if path.is_file() and password in path.read_bytes()] == []
