"""Trials that were given back, and what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, bindparam, text

_NOW = text("SELECT clock_timestamp()")
_RETRIES = text("""
    SELECT s.study_name AS study, t.number, o.outcome, o.message, o.worker,
           r.number AS retry, r.state AS retry_state, resumed.value_json::text AS resumed
      FROM anomalyvfm_opt.trial_outcome o
      JOIN trials t ON t.trial_id = o.trial_id JOIN studies s ON s.study_id = t.study_id
      LEFT JOIN (trials r JOIN trial_user_attributes a ON a.trial_id = r.trial_id AND a.key = 'retry_of')
        ON r.study_id = t.study_id AND a.value_json = t.number::text
      LEFT JOIN trial_user_attributes resumed
        ON resumed.trial_id = r.trial_id AND resumed.key = 'resumed_from_epoch'
     WHERE t.study_id IN :studies AND NOT o.is_final AND o.ended_at >= :since
     ORDER BY o.ended_at
""").bindparams(bindparam("studies", expanding=True))


@dataclass(frozen=True)
class Retry:
    """A trial that was given back. `retry` is the number of its copy, None if there is none yet."""

    study: str
    number: int
    outcome: str
    message: str
    worker: str
    retry: int | None
    retry_state: str | None
    resumed: str | None  # JSON list of the epochs that the copy went on from

    def describe(self) -> str:
        """Return one line for a person."""
        copy = "no copy yet" if self.retry is None else f"trial {self.retry} ({(self.retry_state or '').lower()})"
        went_on = f", went on after epoch {self.resumed.strip('[]')}" if self.resumed else ""
        return f"{self.study} trial {self.number} {self.outcome}: {self.message} -> {copy}{went_on}"


def read_clock(engine: Engine) -> datetime:
    """Return the database's time."""
    with engine.connect() as connection:
        now: datetime = connection.execute(_NOW).scalar_one()
        return now


def list_retries(engine: Engine, study_ids: Sequence[int], since: datetime) -> list[Retry]:
    """Return trials of these studies that were given back since then, in the order in which it happened."""
    with engine.connect() as connection:
        rows = connection.execute(_RETRIES, {"studies": list(study_ids) or [-1], "since": since})
        return [Retry(**row._asdict()) for row in rows]
