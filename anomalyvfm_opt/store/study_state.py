"""Whether a study gives tickets: active, paused (workers wait) or stopped (workers leave it)."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Engine, text

State = Literal["active", "paused", "stopped"]
BY_A_PERSON = "by study "  # how a reason begins that a command gave; the command's name follows

_READ = text("SELECT state, state_reason FROM anomalyvfm_opt.study WHERE study_id = :study_id")
_READ_ALL = text("SELECT study_id, state, state_reason FROM anomalyvfm_opt.study")
_SET = text("""
    UPDATE anomalyvfm_opt.study SET state = :state, state_reason = :reason
     WHERE study_id = :study_id AND state <> :state
""")


@dataclass(frozen=True)
class StudyState:
    """A study's state, and why it is in it; the reason of an active one is empty."""

    name: State
    reason: str

    @property
    def is_by_bugs(self) -> bool:
        """Whether it was stopped because its trials failed one after the other."""
        return self.name == "stopped" and not self.reason.startswith(BY_A_PERSON)


def read_state(engine: Engine, study_id: int) -> StudyState:
    """Return a study's state; one that was deleted is stopped."""
    with engine.connect() as connection:
        row = connection.execute(_READ, {"study_id": study_id}).one_or_none()
    return (
        StudyState("stopped", f"{BY_A_PERSON}delete") if row is None else StudyState(row.state, row.state_reason)
    )


def read_states(engine: Engine) -> dict[int, StudyState]:
    """Return the states of all studies of ours, by their ids."""
    with engine.connect() as connection:
        return {row.study_id: StudyState(row.state, row.state_reason) for row in connection.execute(_READ_ALL)}


def set_state(engine: Engine, study_id: int, state: State, reason: str = "") -> bool:
    """Change a study's state; False if it is in it already."""
    with engine.begin() as connection:
        done = connection.execute(_SET, {"study_id": study_id, "state": state, "reason": reason[-1000:]})
    return done.rowcount > 0
