"""What our tables know of each trial beside its attributes: who runs it or ended it, how, and how far it came."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, text

_LIST = text("""
    SELECT t.trial_id, coalesce(o.outcome, '') AS outcome, coalesce(o.message, '') AS message,
           coalesce(NOT o.is_final, false) AS is_given_back,
           coalesce(l.worker, o.worker) AS worker,
           (SELECT max(i.step) FROM trial_intermediate_values i WHERE i.trial_id = t.trial_id) AS epoch
      FROM trials t
      LEFT JOIN anomalyvfm_opt.trial_outcome o ON o.trial_id = t.trial_id
      LEFT JOIN anomalyvfm_opt.lease l ON l.trial_id = t.trial_id
     WHERE t.study_id = :study_id
""")


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What became of a trial, or is becoming of it.

    Args:
        outcome: how it ended; empty while it waits or runs.
        is_given_back: whether that ended this run alone: a copy of it is another trial.
        message: what an error said; empty without one.
        worker: that runs it or ended it; None while it waits.
        epoch: the last one that a value was reported of; None before the first.
    """

    outcome: str
    is_given_back: bool
    message: str
    worker: str | None
    epoch: int | None


def list_fates(engine: Engine, study_id: int) -> Mapping[int, Fate]:
    """Return the fate of each trial of a study, by the trial's id."""
    with engine.connect() as connection:
        rows = connection.execute(_LIST, {"study_id": study_id})
        return {
            row.trial_id: Fate(
                outcome=row.outcome,
                is_given_back=row.is_given_back,
                message=row.message,
                worker=row.worker,
                epoch=row.epoch,
            )
            for row in rows
        }
