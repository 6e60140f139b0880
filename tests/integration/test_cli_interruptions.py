"""Workers that are stopped or killed in the middle of a trial lose nothing but time."""

import hashlib
import signal
import time
from pathlib import Path

import pytest
from filelock import FileLock

from anomalyvfm_opt.data.decoded import describe_images
from anomalyvfm_opt.data.geometry import choose_geometry
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.worker.images import find_images
from tests.integration.program import Process, Program, finish, wait_for

GRACE = {"ANOMALYVFM_OPT_GRACE_S": "3"}


@pytest.fixture(scope="module")
def study(program: Program) -> str:
    """Its first trial, v1.1, takes long enough to be hit."""
    changes = {"references": ["v1.1"], "training": {"steps_per_epoch": 4}, "search": {"trials": 2}}
    return program.create_here("interrupted", **changes)


def test_a_worker_that_reads_its_images_says_so_and_stops_at_once(program: Program, tmp_path: Path) -> None:
    """Another process of this host has the lock of what it wants to read."""
    study = program.create_here("unread", references=["frozen"], search={"trials": 2})
    record = program.record(study)
    split = find_images(record, list_images(program.store.engine, record.study_id), program.data)
    key = describe_images(split.fit, choose_geometry(record.spec.data, split.fit))
    cache = tmp_path / "cache"
    cache.mkdir()
    with FileLock(cache / f"{hashlib.sha256(key.encode()).hexdigest()}.lock"):
        place = {"ANOMALYVFM_OPT_HOME": str(tmp_path), "ANOMALYVFM_OPT_DB_URL": program.cluster.url()}
        worker = program.start("worker", "run", "--study", study, **place)
        assert worker.stderr is not None
        said = [worker.stderr.readline() for _ in range(2)]
        time.sleep(4)  # by then it waits
        worker.send_signal(signal.SIGINT)
        done = finish(worker, 20)
    assert said[1] == f"{study}: comparing the images with those of the study ...\n"
    assert (done.returncode, done.stderr) == (130, "stopping\nworker stopped: no trial\n")
    assert program.usage(study).used == 0


def start_and_hit(program: Program, study: str, number: signal.Signals) -> Process:
    """Start a worker, and send it a signal once its trial has reported an epoch."""
    worker = program.start("worker", "run", "--study", study, "--threads", "1", **GRACE)

    def is_training() -> bool:
        assert worker.poll() is None, worker.communicate()
        return any(trial.state.name == "RUNNING" and trial.intermediate_values for trial in program.trials(study))

    wait_for(is_training)
    assert program.usage(study).used == 1
    worker.send_signal(number)
    return worker


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_worker_gives_its_trial_back(
    program: Program, study: str, number: signal.Signals, exit_code: int
) -> None:
    done = finish(start_and_hit(program, study, number))
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    assert "1 preempted" in done.stderr
    usage = program.usage(study)
    assert (usage.used, usage.running, usage.held, usage.waiting) == (0, 0, 0, 1)


def test_a_killed_workers_trial_is_found_and_the_budget_stays_exact(program: Program, study: str) -> None:
    killed = start_and_hit(program, study, signal.SIGKILL)
    assert finish(killed).returncode == -signal.SIGKILL
    assert program.usage(study).running == 1
    done = program.run_here("worker", "run", "--study", study, "--threads", "1", **GRACE)
    assert done.returncode == 0, done.stderr
    assert "its worker died; given back" in done.stderr
    usage = program.usage(study)
    assert (usage.complete, usage.used, usage.running, usage.held, usage.failed) == (2, 2, 0, 0, 0)
    complete = [trial for trial in program.trials(study) if trial.state.name == "COMPLETE"]
    assert [trial.user_attrs.get("reference") for trial in complete].count("v1.1") == 1
