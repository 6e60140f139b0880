"""The end of a trial in one transaction: its state, its outcome, its copy if it is to be tried again, its lease.

A crash leaves all of it or nothing, and it is idempotent: whoever comes second finds the outcome.
Optuna's own calls would take several transactions, with a trial between them that nobody answers for.
"""

from dataclasses import dataclass

from optuna.trial import TrialState
from sqlalchemy import Connection, Engine, text

from anomalyvfm_opt.store.waiting import Waiting, insert_waiting

_LOCK = "SELECT study_id, number, state FROM trials WHERE trial_id = :trial_id FOR UPDATE"
_LOCKS = {True: text(_LOCK), False: text(f"{_LOCK} SKIP LOCKED")}
_END = text("""
    UPDATE trials SET state = CAST(:state AS trialstate), datetime_complete = now() AT TIME ZONE 'utc'
     WHERE trial_id = :trial_id AND state = 'RUNNING'
""")
_HAS_OUTCOME = text("SELECT EXISTS (SELECT FROM anomalyvfm_opt.trial_outcome WHERE trial_id = :trial_id)")
# A trial that was FAIL before we came was perhaps given back by a version that did it in several steps.
_HAS_COPY = text("""
    SELECT EXISTS (SELECT FROM trials t JOIN trial_user_attributes a ON a.trial_id = t.trial_id
                    WHERE t.study_id = :study_id AND a.key = 'retry_of' AND a.value_json = :number)
""")
_OUTCOME = text("""
    INSERT INTO anomalyvfm_opt.trial_outcome (trial_id, outcome, is_final, message, worker)
    VALUES (:trial_id, :outcome, :is_final, :message, :worker) ON CONFLICT DO NOTHING
""")
_DROP_LEASE = text("DELETE FROM anomalyvfm_opt.lease WHERE trial_id = :trial_id")


@dataclass(frozen=True)
class Ending:
    """How a trial ends."""

    state: TrialState  # PRUNED or FAIL
    outcome: str
    message: str
    worker: str


def end_trial(
    engine: Engine, trial_id: int, ending: Ending, retry: Waiting | None = None, *, waits: bool = True
) -> bool:
    """End a trial that is running, or one that is FAIL without an outcome.

    Args:
        engine: of the study store.
        trial_id: of the trial.
        ending: how it ends; for good where there is no retry.
        retry: for the copy that is to wait; None for none.
        waits: for another process that is at it, which may be stopped; else the trial is left to that one.

    Returns:
        False if it has come to an end otherwise, or is left; then nothing is written.
    """
    with engine.begin() as connection:
        trial = connection.execute(_LOCKS[waits], {"trial_id": trial_id}).one_or_none()
        if trial is None or not _is_open(connection, trial_id, trial.state):
            return False
        connection.execute(_END, {"trial_id": trial_id, "state": ending.state.name})
        has_copy = connection.scalar(_HAS_COPY, {"study_id": trial.study_id, "number": str(trial.number)})
        if retry is not None and not has_copy:
            insert_waiting(connection, trial.study_id, retry)
        is_final = retry is None and not has_copy
        _insert_outcome(connection, trial_id, ending, is_final=is_final)
        connection.execute(_DROP_LEASE, {"trial_id": trial_id})
    return True


def close_trial(engine: Engine, trial_id: int, outcome: str, worker: str) -> None:
    """Write down who ended a trial that is in its final state already, and let its lease go."""
    with engine.begin() as connection:
        ending = Ending(state=TrialState.COMPLETE, outcome=outcome, message="", worker=worker)
        _insert_outcome(connection, trial_id, ending, is_final=True)
        connection.execute(_DROP_LEASE, {"trial_id": trial_id})


def _is_open(connection: Connection, trial_id: int, state: str) -> bool:
    if state == TrialState.RUNNING.name:
        return True
    return state == TrialState.FAIL.name and not connection.scalar(_HAS_OUTCOME, {"trial_id": trial_id})


def _insert_outcome(connection: Connection, trial_id: int, ending: Ending, *, is_final: bool) -> None:
    connection.execute(
        _OUTCOME,
        {
            "trial_id": trial_id,
            "outcome": ending.outcome,
            "is_final": is_final,
            "message": ending.message.replace("\x00", "")[-4000:],
            "worker": ending.worker,
        },
    )
