"""kill -9 of workers during a confirmation: no retraining is lost or doubled, and no look goes unwritten."""

import random
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.store.confirmations import insert_confirmation
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.siblings import plan_trials
from tests.chaos.faults import KILLS, inject
from tests.chaos.invariants import assert_books_are_right, assert_plan_is_carried_out
from tests.chaos.test_kills import GRACE, WORK
from tests.integration.program import CATEGORY, Process, Program, finish, wait_for

_SEED = 20261126
_STORM_S = 60

# The second look is written, and the images are not scored; or they are, and nothing of it is stored.
BETWEEN = {
    "after the look": """
import anomalyvfm_opt.trial.trial_store as trial_store
write = trial_store.write_look
def write_and_die(*arguments):
    write(*arguments)
    if is_time(2):
        die()
trial_store.write_look = write_and_die
""",
    "before the result": """
import anomalyvfm_opt.trial.settle as settle
write = settle.write_scores
def write_or_die(*arguments):
    if is_time(2):
        die()
    write(*arguments)
settle.write_scores = write_or_die
""",
    "after the scores": """
import anomalyvfm_opt.trial.settle as settle
write = settle.write_scores
def write_and_die(*arguments):
    write(*arguments)
    if is_time(2):
        die()
settle.write_scores = write_and_die
""",
}


@pytest.fixture
def artifacts(program: Program) -> Path:
    return program.cluster.home / "artifacts"


def plan(program: Program, name: str, seeds: int) -> str:
    """The trials of a confirmation of one setting with itself; the name of the study that holds them."""
    family = program.create_here(name, references=["frozen"], search={"trials": 1})
    store, record = program.store, program.record(family)
    baseline = reference_parameters("v1.1", CATEGORY, 64)
    assert baseline is not None
    parameters = replace(baseline, epochs=2, synthesis_count=12)
    arms = [("frozen", None, 0)]
    arms += [(arm, parameters, seed) for seed in range(1, seeds + 1) for arm in ("finalist", "baseline")]  # type: ignore[misc]
    trials = [(Planned(arm, p, seed, 1, "patch_knn"), {}) for arm, p, seed in arms]

    def write(connection: Any, study_id: int) -> bool:
        return insert_confirmation(connection, study_id, 1, {})

    plan_trials(store, record, "confirm", trials, write)
    return f"{family}#confirm"


def count_looks(program: Program, name: str) -> Counter[int]:
    """Trial number -> how often it looked."""
    from sqlalchemy import text

    query = text("SELECT trial_number FROM anomalyvfm_opt.look WHERE study_name = :name")
    with program.store.engine.connect() as connection:
        return Counter(connection.scalars(query, {"name": name}))


def check_the_end(program: Program, name: str, artifacts: Path) -> None:
    assert_plan_is_carried_out(program.store, name, artifacts)
    looks = count_looks(program, name)
    complete = [trial.number for trial in program.trials(name) if trial.state.name == "COMPLETE"]
    assert all(looks[number] == 1 for number in complete)


@pytest.mark.slow
@pytest.mark.parametrize("point", [*BETWEEN, "after ask"])
def test_kill_at(program: Program, artifacts: Path, tmp_path: Path, point: str) -> None:
    name = plan(program, f"confirm-{point.replace(' ', '-')}", 1)
    fault = inject(tmp_path / "fault", {**KILLS, **BETWEEN}[point])
    killed = program.run(*WORK, *GRACE, "--study", name, **fault)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    looks_before = count_looks(program, name).total()  # of a trial without a lease a reaper knows after the grace
    done = program.run(*WORK, *GRACE, "--study", name)
    assert done.returncode == 0, done.stderr
    check_the_end(program, name, artifacts)
    looks = count_looks(program, name).total()
    assert looks == 3 + (point in BETWEEN)  # nobody saw the killed one's result, and it is counted all the same
    assert looks_before <= looks


@pytest.mark.slow
def test_a_storm_of_kills(program: Program, artifacts: Path) -> None:
    """Two workers, one of which is killed every few seconds and started again."""
    name = plan(program, "confirm-storm", 4)
    draw = random.Random(_SEED)  # noqa: S311 - a storm that can be had again
    arguments = (*WORK, *GRACE, "--study", name)
    workers: list[Process] = [program.start(*arguments) for _ in range(2)]
    wait_for(lambda: count_looks(program, name).total() > 0)
    deadline = time.monotonic() + _STORM_S
    while time.monotonic() < deadline and program.usage(name).complete < 7:
        i = draw.randrange(2)
        workers[i].kill()
        finish(workers[i])
        workers[i] = program.start(*arguments)
        time.sleep(draw.uniform(4, 12))
    for worker in workers:
        assert "Traceback" not in finish(worker, 300).stderr
    assert program.run(*arguments).returncode == 0
    usage = program.usage(name)
    if usage.failed == 0:  # a trial that takes three workers down with it is not tried again
        check_the_end(program, name, artifacts)
    assert usage.complete + usage.failed == 9
    assert_books_are_right(program.store, name, artifacts)
