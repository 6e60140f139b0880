"""Workers in a real Slurm of one node, which deploy/try_slurm.sh starts on this host: `make test-slurm`."""

import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.conftest import find_ports
from tests.deploy.real_slurm import GPUS, RealSlurm, run_real_slurm
from tests.integration.program import CATEGORY, Program, assert_one_error, finish, wait_for

pytestmark = pytest.mark.slurm

LAUNCH = ("worker", "launch", "--engine", "slurm", "--device", "cpu", "--grace-s", "20")
_PATIENCE_S = 400.0
_EPOCHS = 12
_ENDLESS = 1_000_000


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSlurm]:
    with run_real_slurm(tmp_path_factory.mktemp("slurm"), find_ports(1)[0]) as slurm:
        yield slurm


def create(program: Program, name: str, trials: int, epochs: int) -> str:
    """Trials of so many epochs, after the frozen one."""
    space = {"adapter": ["lora"], "rank": [4], "epochs": {"low": epochs, "high": epochs}}
    changes: dict[str, Any] = {"training": {"steps_per_epoch": 10}, "search": {"trials": trials, "space": space}}
    return program.create_here(name, references=["frozen"], **changes)


def submit(program: Program, slurm: RealSlurm, *arguments: str) -> tuple[str, Path]:
    """The array's job id, and the folder of its logs."""
    done = program.run_here(*LAUNCH, *arguments, **slurm.environment)
    assert done.returncode == 0, done.stderr
    match = re.search(r"logs in (\S+)", done.stderr)
    assert match is not None
    return done.stdout.strip(), Path(match[1])


def count_epochs(program: Program, study: str) -> list[int]:
    """How many epochs each trial that is under way has reported."""
    return [len(t.intermediate_values) for t in program.trials(study) if t.state.name == "RUNNING"]


def find_worker(task: str) -> int:
    """The process id of a task's first worker."""
    words = f"\0--name\0slurm-{task}-1-".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if words in command:
            found.append(int(folder.name))
    return min(found)


def read_variable(pid: int, name: str) -> str:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)[name]


def assert_no_password(program: Program, slurm: RealSlurm, *texts: str) -> None:
    """Neither in Slurm's own files nor in those of submitit, nor in the texts."""
    password = (program.cluster.home / "postgres" / "password").read_text().strip()
    paths = [path for folder in (slurm.folder, program.cluster.home / "slurm") for path in folder.rglob("*")]
    files = [path for path in paths if path.is_file()]
    assert {"job_state", "slurmctld.log"} <= {path.name for path in files}
    assert [path for path in files if password.encode() in path.read_bytes()] == []
    assert not any(password in text for text in texts)


def test_a_study_survives_a_notice_and_a_crash(program: Program, slurm: RealSlurm) -> None:
    """When both workers train, one is killed, and the other's job gets the notice before the end of its time."""
    study = create(program, "real-slurm", 5, _EPOCHS)
    job, folder = submit(
        program, slurm, "--count", "2", "--gpus-per-worker", "1", "--time", "10", "--study", study
    )
    told, killed = f"{job}_0", f"{job}_1"

    def are_training() -> bool:
        return [1 <= count <= _EPOCHS // 2 for count in count_epochs(program, study)] == [True, True]

    wait_for(are_training, _PATIENCE_S)
    victim = find_worker(killed)
    gpus = {read_variable(pid, "CUDA_VISIBLE_DEVICES") for pid in (victim, find_worker(told))}
    os.kill(victim, signal.SIGKILL)
    slurm.ask("scancel", "--signal=USR2", told)
    wait_for(lambda: slurm.show(told)["Restarts"] == "1", _PATIENCE_S)
    wait_for(slurm.is_idle, _PATIENCE_S)

    assert gpus == {"0", "1"}
    ends = [(slurm.show(task)["JobState"], slurm.show(task)["Restarts"]) for task in (told, killed)]
    assert ends == [("COMPLETED", "1"), ("COMPLETED", "0")]
    logs = {task: (folder / f"{task}_0_log.out").read_text() for task in (told, killed)}
    assert "preempted: interrupted (143)" in logs[told]
    assert logs[told].index("preempted: interrupted (143)") < logs[told].index("Requeued job")
    assert re.search(r"worker killed by signal 9 after \d+ s; started again in 1 s", logs[killed])
    assert "Traceback" not in logs[told] + logs[killed]
    usage = program.usage(study)
    assert (usage.complete, usage.used, usage.running, usage.held) == (5, 5, 0, 0)
    retries = [trial.user_attrs for trial in program.trials(study) if "retry_of" in trial.user_attrs]
    assert sorted(attributes["times_lost"] for attributes in retries) == [0, 1]
    assert all(attributes["resumed_from_epoch"][0] >= 1 for attributes in retries)
    assert_no_password(program, slurm, *logs.values(), slurm.ask("scontrol", "show", "job", job))

    attached = finish(program.start(*LAUNCH, "--count", "2", "--study", study, "--attach", **slurm.environment))
    assert attached.returncode == 0, attached.stderr
    assert "2 DONE" in attached.stderr


def test_the_end_of_a_jobs_time_and_scancel(program: Program, slurm: RealSlurm) -> None:
    """A trial that never ends: Slurm gives the notice; the job's next run goes on with it, and is cancelled."""
    study = create(program, "real-slurm-limit", 2, _ENDLESS)
    job, folder = submit(program, slurm, "--time", "4", "--study", study)
    wait_for(lambda: slurm.show(job)["Restarts"] == "1", _PATIENCE_S)
    (told,) = [trial for trial in program.trials(study) if trial.state.name == "FAIL"]
    reported = len(told.intermediate_values)
    wait_for(lambda: sum(count_epochs(program, study)) > reported, _PATIENCE_S)
    slurm.ask("scancel", job)
    wait_for(slurm.is_idle, _PATIENCE_S)

    assert slurm.show(job)["JobState"] == "CANCELLED"
    log = (folder / f"{job}_0_log.out").read_text()
    assert log.count("preempted: interrupted (143)") == 2
    assert log.count("Requeued job") == 1
    assert "begins from the start" not in log
    usage = program.usage(study)
    assert (usage.complete, usage.running, usage.held, usage.waiting) == (1, 0, 0, 1)
    retries = [trial for trial in program.trials(study) if "retry_of" in trial.user_attrs]
    assert [(trial.state.name, trial.user_attrs["times_lost"]) for trial in retries] == [
        ("FAIL", 0),
        ("WAITING", 0),
    ]
    assert told.intermediate_values.items() < retries[0].intermediate_values.items()
    listed = program.run_json("worker", "list", "--all")["workers"]
    reasons = [row["end_reason"] for row in listed if row["name"].startswith(f"slurm-{job}-")]
    assert reasons == ["interrupted (143)"] * 2
    assert program.run_here("study", "stop", study).returncode == 0  # for tests that run all studies
    assert_no_password(program, slurm, log)


def test_a_job_ends_with_the_exit_code_of_its_worker(program: Program, slurm: RealSlurm, tmp_path: Path) -> None:
    study = create(program, "real-slurm-images", 2, _EPOCHS)
    shutil.copytree(program.data / CATEGORY, tmp_path / CATEGORY)
    for path in (tmp_path / CATEGORY).rglob("*.png"):
        shutil.copyfile(next(program.data.rglob("*.png")), path)
    arguments = ("--study", study, "--data", str(tmp_path), "--attach")
    done = finish(program.start(*LAUNCH, *arguments, **slurm.environment), _PATIENCE_S)
    assert done.returncode == 2, done.stderr
    assert "1 EXIT 2" in done.stderr
    job = slurm.show(done.stdout.strip())
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "2:0", "0")


def test_workers_can_be_launched_from_within_a_job(program: Program, slurm: RealSlurm, tmp_path: Path) -> None:
    """As in a shell that Slurm gave: its variables contradict what the new job asks for."""
    study = create(program, "real-slurm-inside", 1, _EPOCHS)
    words = (sys.executable, "-m", "anomalyvfm_opt", *LAUNCH, "--study", study, "--sbatch", "mem=900", "--attach")
    home = f"--export=ALL,ANOMALYVFM_OPT_HOME={program.cluster.home}"
    output = tmp_path / "log"
    slurm.ask("sbatch", "--wait", "--mem-per-cpu=300", home, f"--output={output}", f"--wrap={shlex.join(words)}")
    assert "1 DONE" in output.read_text()
    assert program.usage(study).complete == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--partition", "nowhere"), "sbatch refuses: invalid partition specified: nowhere"),
        (("--gpus-per-worker", str(GPUS + 1)), "Requested node configuration is not available"),
        (("--sbatch", "mem=1000T"), "sbatch refuses: Memory specification can not be satisfied"),
    ],
)
def test_what_slurm_refuses_is_said_in_its_words(
    program: Program, slurm: RealSlurm, options: tuple[str, ...], reason: str
) -> None:
    study = "real-slurm-refused/" + CATEGORY
    if study not in program.list_names():
        create(program, "real-slurm-refused", 2, _EPOCHS)
    done = program.run_here(*LAUNCH, "--study", study, *options, **slurm.environment)
    assert reason in assert_one_error(done, 2)
    assert done.stdout == ""
