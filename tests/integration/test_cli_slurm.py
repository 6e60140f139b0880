"""`worker launch --engine slurm`: the command, with an sbatch that takes any job; and jobs on submitit's local
executor, which runs the same pickles with the same signals and puts jobs back like Slurm."""

import os
import re
import signal
import stat
import zlib
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import submitit

from anomalyvfm_opt.launch.slurm import make_private, submit
from tests.integration.program import Program, assert_one_error, wait_for

LAUNCH = ("worker", "launch", "--engine", "slurm", "--count", "2")
_PATIENCE_S = 400.0
_EPOCHS = 12


@pytest.fixture
def path(tmp_path: Path) -> str:
    """PATH with Slurm's commands in it; sbatch refuses one partition."""
    refusal = "echo 'sbatch: error: invalid partition specified: nowhere' >&2; exit 1"
    text = f'#!/bin/sh\ngrep -q partition=nowhere "$1" && {{ {refusal}; }}\necho "Submitted batch job 17"\n'
    for name in ("sbatch", "srun", "squeue", "scancel"):
        (tmp_path / name).write_text(text if name == "sbatch" else "#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def study(program: Program, request: pytest.FixtureRequest) -> str:
    """Trials with many epochs, after the frozen one; enough of them that two workers are busy at the same time."""
    space = {"adapter": ["lora"], "rank": [4], "epochs": {"low": _EPOCHS, "high": _EPOCHS}}
    changes: dict[str, Any] = {"training": {"steps_per_epoch": 10}, "search": {"trials": 5, "space": space}}
    name = f"slurm-{zlib.crc32(request.node.name.encode())}"
    return program.create_here(name, references=["frozen"], **changes)


def test_workers_are_submitted_and_left_alone(program: Program, study: str, path: str) -> None:
    done = program.run_here(*LAUNCH, "--study", study, "--gpus-per-worker", "1", PATH=path)
    assert (done.returncode, done.stdout) == (0, "17\n")
    match = re.search(r"submitted 2 workers as Slurm job 17; logs in (\S+)", done.stderr)
    assert match is not None
    folder = Path(match[1])
    assert folder.parent == program.cluster.home / "slurm"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "scancel 17" in done.stderr
    assert "the database is this host's own" in done.stderr
    script = (folder / "17_submission.sh").read_text()
    assert "--gpus-per-node=1" in script
    assert "--time=240" in script
    pickled = (folder / "17_1_submitted.pkl").read_bytes()
    assert study.encode() in pickled
    assert b"cuda" in pickled  # a job without its GPU is to fail


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--time", "4h"], 2, "--time: '4h' is no time"),
        (["--time", "2"], 2, "--time: 2 minutes is too short"),
        (["--partition", "nowhere"], 2, "sbatch refuses: invalid partition specified: nowhere"),
        (["--gpus-per-worker", "0.5"], 2, "Slurm gives whole GPUs"),
        (["--sbatch", "signal=USR1@5"], 2, "signal is set by this program"),
        (["--engine", "local", "--time", "60"], 2, "--time is an option of --engine slurm, not of local"),
        (["--engine", "local", "--detach"], 2, "--detach is an option of --engine ray and slurm, not of local"),
        (["--address", "head:6379"], 2, "--address is an option of --engine ray, not of slurm"),
        (["--engine", "ray", "--gpus-per-worker", "2"], 2, "--gpus-per-worker 2: a worker uses one GPU"),
    ],
)
def test_mistakes_are_said_and_leave_nothing(
    program: Program, study: str, path: str, options: list[str], code: int, message: str
) -> None:
    folder = program.cluster.home / "slurm"
    before = sorted(folder.glob("*"))
    done = program.run_here(*LAUNCH, "--study", study, *options, PATH=path)
    assert message in assert_one_error(done, code)
    assert sorted(folder.glob("*")) == before


@pytest.mark.parametrize("option", ["--gpus-per-worker", "--drain-s", "--cpus-per-worker"])
def test_infinity_is_no_amount(program: Program, option: str) -> None:
    done = program.run_here(*LAUNCH, option, "inf")
    assert done.returncode == 2
    assert option in done.stderr


def test_a_host_without_slurm_says_so(program: Program, study: str, tmp_path: Path) -> None:
    done = program.run_here(*LAUNCH, "--study", study, PATH=str(tmp_path))
    assert "there is no sbatch on this host" in assert_one_error(done, 3)


def find_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def read_command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.slow
def test_a_study_survives_the_end_of_its_jobs_time(program: Program, study: str, tmp_path: Path) -> None:
    """Two jobs; when each has a trial under way their time is up, as Slurm says it: to all processes."""
    folder = tmp_path / "slurm" / "now"
    make_private(folder)
    executor = submitit.LocalExecutor(folder, max_num_timeout=9)
    executor.update_parameters(timeout_min=60, stderr_to_stdout=True)
    node = {"CUDA_VISIBLE_DEVICES": "", "SLURM_CPUS_ON_NODE": "1"}  # each has one core, as a cluster would give it
    with patch.dict(os.environ, {"ANOMALYVFM_OPT_HOME": str(program.cluster.home), **node}):
        array = submit(executor, ["--device", "cpu", "--study", study], 2)

    def are_training() -> bool:
        running = [t.intermediate_values for t in program.trials(study) if t.state.name == "RUNNING"]
        return [1 <= len(values) <= _EPOCHS // 2 for values in running] == [True, True]

    wait_for(are_training, _PATIENCE_S)
    commands = []
    for job in array.jobs:
        (task,) = find_children(int(job.job_id))
        (worker,) = find_children(task)
        commands += [read_command(task), read_command(worker)]
        for pid in (worker, task):  # in the order that is worse for us
            os.kill(pid, signal.SIGUSR2)
    wait_for(lambda: None not in array.read_codes(), _PATIENCE_S)
    assert array.read_codes() == [0, 0]

    usage = program.usage(study)
    assert (usage.complete, usage.used, usage.running, usage.held) == (5, 5, 0, 0)
    retries = [trial.user_attrs for trial in program.trials(study) if "retry_of" in trial.user_attrs]
    assert len(retries) == 2
    assert all(attributes["resumed_from_epoch"][0] >= 1 for attributes in retries)
    logs = "".join(job.paths.stdout.read_text() for job in array.jobs)
    assert logs.count("Requeued job") == logs.count("preempted: interrupted (143)") == 2
    assert "Traceback" not in logs
    password = (program.cluster.home / "postgres" / "password").read_text().strip()
    files = [path.read_bytes() for path in folder.iterdir() if path.is_file()]
    assert not any(password.encode() in content for content in files)
    assert not any(password in command for command in commands)


def test_a_job_that_cannot_work_ends_as_its_worker_does(program: Program, study: str, tmp_path: Path) -> None:
    folder = tmp_path / "slurm" / "now"
    make_private(folder)
    home = {"ANOMALYVFM_OPT_HOME": str(program.cluster.home)}
    with patch.dict(os.environ, home):
        array = submit(submitit.LocalExecutor(folder), ["--study", "no/such"], 1)
    wait_for(lambda: array.read_codes() != [None], _PATIENCE_S)
    assert array.read_codes() == [2]
