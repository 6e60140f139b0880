"""What trials leave in the store, and trials that end badly, for the tests of the engine."""

from typing import Any

from sqlalchemy import text

from anomalyvfm_opt.store.budget import take_ticket
from anomalyvfm_opt.trial.loop import TrialLoop, Turn
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from tests.integration.conftest import Bench


def run_to_end(loop: TrialLoop) -> None:
    while loop.take_turn() is not Turn.DONE:
        pass


def states(bench: Bench) -> list[str]:
    return [trial.state.name for trial in bench.study().get_trials()]


def count_leases(bench: Bench) -> int:
    with bench.engine.connect() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM anomalyvfm_opt.lease")) or 0)


def expire_leases(bench: Bench) -> None:
    with bench.engine.begin() as connection:
        connection.execute(text("UPDATE anomalyvfm_opt.lease SET expires_at = now() - interval '1 s'"))


def die_after_asking(bench: Bench) -> None:
    """What a worker leaves behind that is killed right after it asked for a trial."""
    lease = take_ticket(bench.engine, bench.record.study_id, "dead", 30.0)
    assert lease is not None
    trial = bench.study().ask()
    lease.attach(bench.engine, trial._trial_id)


def fail_with(error: Exception) -> Any:
    def run(_request: TrialRequest, _progress: Progress) -> TrialResult:
        raise error

    return run


def read_outcomes(bench: Bench) -> list[tuple[str, bool]]:
    """Of all trials that have one, in their order: the outcome, and whether it is final."""
    query = "SELECT outcome, is_final FROM anomalyvfm_opt.trial_outcome ORDER BY trial_id"
    with bench.engine.connect() as connection:
        return [(row.outcome, row.is_final) for row in connection.execute(text(query))]
