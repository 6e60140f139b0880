"""How trials ended, read back: for good, by an error, or given back to be run again."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, text

# A trial that was given back is not final: it says nothing about its study, and its copy is another trial.
_FINAL = text("""
    SELECT t.trial_id, o.outcome FROM anomalyvfm_opt.trial_outcome o JOIN trials t ON t.trial_id = o.trial_id
     WHERE t.study_id = ANY(:study_ids) AND o.is_final
""")
_FAILURES = text("""
    SELECT t.number, o.outcome, o.message FROM anomalyvfm_opt.trial_outcome o
      JOIN trials t ON t.trial_id = o.trial_id
     WHERE t.study_id = :study_id AND o.is_final AND o.outcome <> 'completed' ORDER BY t.number
""")
# Latest by the database's clock.
_LAST = text("""
    SELECT o.outcome FROM anomalyvfm_opt.trial_outcome o JOIN trials t ON t.trial_id = o.trial_id
     WHERE t.study_id = :study_id AND o.is_final
     ORDER BY o.ended_at DESC, t.number DESC LIMIT :count
""")


@dataclass(frozen=True)
class StoredFailure:
    """A trial that ended for good without a value."""

    number: int
    outcome: str
    message: str


def read_final_outcomes(engine: Engine, study_ids: Sequence[int]) -> dict[int, str]:
    """Return the outcome of each trial of some studies that ended for good, by the trial's id."""
    with engine.connect() as connection:
        rows = connection.execute(_FINAL, {"study_ids": list(study_ids)})
        return {row.trial_id: row.outcome for row in rows}


def list_failures(engine: Engine, study_id: int) -> list[StoredFailure]:
    """Return the trials of a study that ended for good without a value, by number."""
    with engine.connect() as connection:
        rows = connection.execute(_FAILURES, {"study_id": study_id})
        return [StoredFailure(row.number, row.outcome, row.message) for row in rows]


def list_last_outcomes(engine: Engine, study_id: int, count: int) -> list[str]:
    """Return how the last trials of a study ended that were not given back, latest first."""
    with engine.connect() as connection:
        return list(connection.scalars(_LAST, {"study_id": study_id, "count": count}))
