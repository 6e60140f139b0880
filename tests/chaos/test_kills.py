"""kill -9 at each named point of a trial, a full disk, a wrong clock and a hung trial, with real trainings."""

import signal
from pathlib import Path

import pytest

from tests.chaos.faults import CLOCK_AHEAD, DISK_FULL, HANG, KILLS, inject
from tests.chaos.invariants import assert_books_are_right, assert_study_is_whole
from tests.integration.program import Program, finish

BUDGET = 3
WORK = ("worker", "run", "--threads", "1")
GRACE = ("--grace-s", "2")


@pytest.fixture
def study(program: Program, request: pytest.FixtureRequest) -> str:
    """Two trials that train for three epochs of two steps, after the frozen one."""
    name = "chaos-" + "".join(c if c.isalnum() else "-" for c in request.node.name)[-40:].strip("-")
    search = {"trials": BUDGET, "space": {"adapter": ["lora"], "rank": [4], "epochs": {"low": 3, "high": 3}}}
    return program.create_here(name, references=["frozen"], search=search)


@pytest.fixture
def artifacts(program: Program) -> Path:
    return program.cluster.home / "artifacts"


def run_to_the_end(program: Program, study: str, artifacts: Path) -> str:
    """A healthy worker ends the study; what it said."""
    done = program.run(*WORK, *GRACE, "--study", study)
    assert done.returncode == 0, done.stderr
    assert_study_is_whole(program.store, study, artifacts)
    return done.stderr


@pytest.mark.parametrize(
    "point",
    [pytest.param(point, marks=() if point == "during checkpoint" else pytest.mark.slow) for point in KILLS],
)
def test_kill_at(program: Program, study: str, artifacts: Path, tmp_path: Path, point: str) -> None:
    killed = program.run(*WORK, *GRACE, "--study", study, **inject(tmp_path / "fault", KILLS[point]))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run_to_the_end(program, study, artifacts)
    retried = [trial for trial in program.trials(study) if "retry_of" in trial.user_attrs]
    if point not in ("after ticket", "after tell"):
        assert len(retried) == 1
    if point in ("during checkpoint", "during artifact write", "before tell"):
        assert retried[0].user_attrs["resumed_from_epoch"] == [{"during checkpoint": 1}.get(point, 3)]


@pytest.mark.slow
def test_a_full_disk_costs_the_checkpoints_and_nothing_else(
    program: Program, study: str, artifacts: Path, tmp_path: Path
) -> None:
    """The disk is not full here: the write of a checkpoint is told so."""
    done = program.run(*WORK, "--study", study, **inject(tmp_path / "fault", DISK_FULL))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot write a checkpoint") == BUDGET - 1  # once a trial
    assert "No space left on device" in done.stderr
    assert_study_is_whole(program.store, study, artifacts)


@pytest.mark.slow
def test_a_hung_trial_is_taken_up_after_its_last_epoch(
    program: Program, study: str, artifacts: Path, tmp_path: Path
) -> None:
    hung = program.run(*WORK, "--hang-s", "15", "--study", study, **inject(tmp_path / "fault", HANG))
    assert hung.returncode == 3, hung.stderr
    assert "trial 1 hung: no step for" in hung.stderr
    assert_books_are_right(program.store, study, artifacts)
    run_to_the_end(program, study, artifacts)
    retried = [trial for trial in program.trials(study) if "retry_of" in trial.user_attrs]
    assert [trial.user_attrs["resumed_from_epoch"] for trial in retried] == [[1]]


@pytest.mark.slow
def test_clocks_an_hour_apart_do_not_matter(program: Program, study: str, artifacts: Path, tmp_path: Path) -> None:
    ahead = inject(tmp_path / "fault", CLOCK_AHEAD)
    workers = [program.spawn(*WORK, *GRACE, "--study", study, **environment) for environment in ({}, ahead)]
    for done in map(finish, workers):
        assert done.returncode == 0, done.stderr
        assert "its worker died" not in done.stderr
    assert_study_is_whole(program.store, study, artifacts)
    assert all("retry_of" not in trial.user_attrs for trial in program.trials(study))
    durations = [trial.duration.total_seconds() for trial in program.trials(study) if trial.duration]
    assert all(0 < seconds < 600 for seconds in durations), durations


@pytest.mark.slow
def test_a_trial_that_is_lost_an_hour_ahead_has_cost_what_it_took(
    program: Program, study: str, artifacts: Path, tmp_path: Path
) -> None:
    ahead = inject(tmp_path / "fault", CLOCK_AHEAD + KILLS["before tell"])
    assert finish(program.spawn(*WORK, *GRACE, "--study", study, **ahead)).returncode == -signal.SIGKILL
    run_to_the_end(program, study, artifacts)
    durations = [trial.duration.total_seconds() for trial in program.trials(study) if trial.duration]
    assert len(durations) == BUDGET + 1
    assert all(0 < seconds < 600 for seconds in durations), durations
