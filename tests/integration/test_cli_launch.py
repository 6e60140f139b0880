"""`worker launch`: a fleet whose workers crash, are stopped, or cannot start."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from tests.integration.program import CATEGORY, Process, Program, assert_one_error, finish, wait_for

LAUNCH = ("worker", "launch", "--engine", "local", "--count", "2")


@pytest.fixture
def study(program: Program, request: pytest.FixtureRequest) -> str:
    """Trials that train for a few seconds, after the frozen one."""
    space = {"adapter": ["lora"], "rank": [4], "epochs": {"low": 4, "high": 4}}
    changes = {"training": {"steps_per_epoch": 20}, "search": {"trials": 5, "space": space}}
    return program.create_here("fleet-" + request.node.name[-20:], references=["frozen"], **changes)


def find_workers(launcher: Process) -> dict[str, int]:
    """Names and process ids of a launcher's workers."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    workers = {}
    for child in children:
        arguments = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        if "--name" in arguments:
            workers[arguments[arguments.index("--name") + 1]] = int(child)
    return workers


def test_a_killed_worker_is_started_again_and_the_summary_names_the_retry(program: Program, study: str) -> None:
    fleet = program.start(*LAUNCH, "--study", study)

    def is_training() -> bool:
        assert fleet.poll() is None, fleet.communicate()
        running = [t for t in program.trials(study) if t.state.name == "RUNNING" and t.intermediate_values]
        return bool(running)

    wait_for(is_training)
    rows = program.run_here("worker", "list", "--json").stdout
    victim = next(pid for name, pid in find_workers(fleet).items() if f'"{name}"' in rows)
    os.kill(victim, signal.SIGKILL)
    done = finish(fleet)
    assert done.returncode == 0, done.stderr
    usage = program.usage(study)
    assert (usage.complete, usage.used, usage.running, usage.held) == (5, 5, 0, 0)
    assert "killed by signal 9" in done.stderr
    assert "2 slots, 3 workers started, 1 restart" in done.stderr
    assert [line for line in done.stdout.splitlines() if line.split()[:3] == [study, "5/5", "5"]]
    if "1 trial given back" in done.stderr:  # else it was hit between two trials
        assert "lost: its worker died -> trial" in done.stderr
        assert "(complete)" in done.stderr


@pytest.mark.slow
def test_a_signal_reaches_all_workers_and_they_give_their_trials_back(program: Program, study: str) -> None:
    fleet = program.start(*LAUNCH, "--study", study)
    wait_for(lambda: program.usage(study).running >= 1)
    fleet.send_signal(signal.SIGTERM)
    done = finish(fleet)
    assert done.returncode == 143, done.stderr
    assert "Traceback" not in done.stderr
    usage = program.usage(study)
    assert (usage.running, usage.held) == (0, 0)


@pytest.mark.slow
def test_workers_whose_launcher_is_killed_end_the_study(program: Program, study: str) -> None:
    """Nobody reads what they say any more."""
    fleet = program.start(*LAUNCH, "--study", study)
    wait_for(lambda: program.usage(study).running >= 1)
    fleet.kill()
    fleet.communicate()
    wait_for(lambda: program.usage(study).complete == 5)
    usage = program.usage(study)
    assert (usage.used, usage.running) == (5, 0)
    retried = [trial for trial in program.trials(study) if "retry_of" in trial.user_attrs]
    assert retried == []


def test_a_mistake_of_the_user_is_not_tried_again(program: Program, study: str, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    without_data = program.run_here(*LAUNCH, "--study", study, "--data", nowhere)
    assert "--data: no folder" in assert_one_error(without_data, 3)
    weights = program.run_here(*LAUNCH, "--study", study, "--weights", nowhere)
    assert "--weights: no file" in assert_one_error(weights, 3)
    if not torch.cuda.is_available():
        no_gpu = program.run_here(*LAUNCH, "--study", study, "--device", "cuda")
        assert "this process sees 0 GPUs" in assert_one_error(no_gpu, 3)
    assert "is no device" in assert_one_error(program.run_here(*LAUNCH, "--study", study, "--device", "gpu"), 2)
    shutil.copytree(program.data / CATEGORY, tmp_path / CATEGORY)
    first, second, *_ = sorted((tmp_path / CATEGORY / "train" / "good").iterdir())
    shutil.copy(first, second)  # other images than the study's: the workers find out
    done = program.run(*LAUNCH, "--study", study, "--data", str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert "2 slots, 2 workers started, 0 restarts" in done.stderr
    assert program.usage(study).used == 0
    assert_one_error(program.run_here(*LAUNCH, "--study", "no/such"), 2)
