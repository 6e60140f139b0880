"""What runs in a job, in a process of its own, with a shell script as its worker."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anomalyvfm_opt.launch.task import WorkerTask

# A worker that ends as its first argument says; asked to stop, it takes a while, as one with a trial does.
_WORKER = """#!/bin/sh
shift 5
echo "started $*"
stop() { echo "heard"; sleep 0.3; echo "gave its trial back"; exit "$1"; }
case $1 in
    wait) trap 'stop 143' TERM INT USR2 HUP; while :; do sleep 0.05; done ;;
    finish) trap 'stop 0' USR2; while :; do sleep 0.05; done ;;
    crash-once) [ -e crashed ] || { touch crashed; exit 3; }; exit 0 ;;
    *) exit "$1" ;;
esac
"""
_JOB = """
import signal, sys
from anomalyvfm_opt.launch.task import WorkerTask
sys.executable = "./worker.sh"
def requeue(number, frame):
    print("requeued", flush=True)
    sys.exit(255)
signal.signal(signal.SIGUSR2, requeue)  # as submitit does
print("code", WorkerTask((sys.argv[1],))(), flush=True)
"""


def start(folder: Path, what: str, **environment: str) -> "subprocess.Popen[str]":
    worker = folder / "worker.sh"
    worker.write_text(_WORKER)
    worker.chmod(0o755)
    return subprocess.Popen(
        [sys.executable, "-c", _JOB, what],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def signal_when_started(job: "subprocess.Popen[str]", *numbers: signal.Signals) -> list[str]:
    assert job.stdout is not None
    while not job.stdout.readline().startswith("started"):
        pass
    time.sleep(0.3)  # until the script has set its traps
    for number in numbers:
        job.send_signal(number)
        time.sleep(0.1)
    stdout, _ = job.communicate(timeout=30)
    return stdout.splitlines()


@pytest.mark.parametrize("code", [0, 2])
def test_the_job_ends_as_its_worker_does(tmp_path: Path, code: int) -> None:
    job = start(tmp_path, str(code))
    stdout, _ = job.communicate(timeout=30)
    assert f"code {code}" in stdout.splitlines()
    assert job.returncode == code


def test_a_crashed_worker_is_started_again_in_the_same_job(tmp_path: Path) -> None:
    job = start(tmp_path, "crash-once", SLURM_ARRAY_JOB_ID="17", SLURM_ARRAY_TASK_ID="3", SLURM_CPUS_ON_NODE="8")
    stdout, _ = job.communicate(timeout=30)
    starts = [line.split() for line in stdout.splitlines() if line.startswith("started")]
    names = [words[words.index("--name") + 1] for words in starts]
    assert [name.rpartition("-")[0] for name in names] == ["slurm-17_3-1", "slurm-17_3-2"]
    assert all(words[-2:] == ["--threads", "8"] for words in starts)
    assert "worker exit 3 after 0 s; started again in 1 s" in stdout
    assert job.returncode == 0


def test_before_the_limit_the_trial_is_given_back_and_then_the_job_is_put_back(tmp_path: Path) -> None:
    job = start(tmp_path, "wait")
    lines = signal_when_started(job, signal.SIGUSR2)
    told = [line for line in lines if line in ("heard", "gave its trial back", "requeued")]
    assert told == ["heard", "gave its trial back", "requeued"]
    assert not any(line.startswith("code") for line in lines)
    assert job.returncode == 255


def test_a_preemption_may_begin_with_another_signal(tmp_path: Path) -> None:
    lines = signal_when_started(start(tmp_path, "wait"), signal.SIGTERM, signal.SIGUSR2)
    assert "gave its trial back" in lines
    assert lines[-1] == "requeued"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_cancelled_job_ends_with_its_worker_and_is_not_put_back(tmp_path: Path, number: signal.Signals) -> None:
    job = start(tmp_path, "wait")
    lines = signal_when_started(job, number)
    assert "gave its trial back" in lines
    assert lines[-1] == "code 143"
    assert job.returncode == 143


def test_a_worker_that_is_done_when_the_time_is_up_needs_no_other_job(tmp_path: Path) -> None:
    job = start(tmp_path, "finish")
    lines = signal_when_started(job, signal.SIGUSR2)
    assert lines[-1] == "code 0"
    assert "requeued" not in lines
    assert job.returncode == 0


def test_a_task_is_pickled_with_its_arguments_and_starts_again_as_it_was() -> None:
    task = pickle.loads(pickle.dumps(WorkerTask(("--device", "cpu"))))  # noqa: S301 - our own
    assert task.checkpoint().function == task == WorkerTask(("--device", "cpu"))
