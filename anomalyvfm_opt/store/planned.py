"""Trials that are fixed beforehand: parameters, seed, in a confirmation the scorer. Siblings hold only such."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from sqlalchemy import Connection, text

from anomalyvfm_opt.spec.parameters import Parameters

PLANNED = "planned"  # the user attribute
_LIST = text("""
    SELECT a.value_json FROM trial_user_attributes a JOIN trials t ON t.trial_id = a.trial_id
     WHERE t.study_id = :study_id AND a.key = 'planned'
""")
_LOCK = text("SELECT FROM anomalyvfm_opt.study WHERE study_id = :study_id FOR UPDATE")
_SET_BUDGET = text("UPDATE anomalyvfm_opt.study SET budget = :budget WHERE study_id = :study_id")

Key = tuple[int, str, int]  # round, arm, seed


@dataclass(frozen=True)
class Planned:
    """One retraining that was decided beforehand.

    Args:
        arm: what it is a retraining of, such as `baseline` or `trial 12`.
        parameters: None for the frozen detector.
        seed: of the training.
        round: of the confirmation, from 1; 0 for replicates.
        scorer: by which the locked images are judged; None for a trial on search data.
    """

    arm: str
    parameters: Parameters | None
    seed: int
    round: int = 0
    scorer: str | None = None

    @property
    def key(self) -> Key:
        """What it is known by in its study: its retries share it."""
        return self.round, self.arm, self.seed

    def to_json(self) -> dict[str, Any]:
        """As the trial's attribute; floats keep all of their digits."""
        return asdict(self)

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Self | None:
        """Out of a trial's user attributes; None if the trial was not planned."""
        found = attributes.get(PLANNED)
        if found is None:
            return None
        parameters = found["parameters"]
        return cls(**{**found, "parameters": None if parameters is None else Parameters.from_json(parameters)})


@dataclass(frozen=True)
class Waiting:
    """What a trial that waits to be asked for begins with."""

    parameters: Mapping[str, Any]  # as Optuna knows them; empty where it does not
    attributes: Mapping[str, Any]


def insert_waiting(connection: Connection, study_id: int, trial: Waiting) -> None:
    """As `study.enqueue_trial` makes it, in the caller's transaction."""
    from optuna.trial import TrialState, create_trial

    from anomalyvfm_opt.store import trial_writes as writes

    new = create_trial(
        state=TrialState.WAITING,
        user_attrs=dict(trial.attributes),
        system_attrs={"fixed_params": dict(trial.parameters)},
    )
    connection.execute(writes.CREATE_LIKE, {"study_id": study_id, **writes.describe_trial(new, {})})


def enqueue_planned(
    connection: Connection, study_id: int, trials: Sequence[tuple[Planned, Mapping[str, Any]]]
) -> int:
    """Let planned trials wait in a sibling study, with a ticket for each; those that are there are left alone.

    Args:
        connection: in the caller's transaction.
        study_id: of the sibling.
        trials: each with the parameters as Optuna knows them.

    Returns:
        How many are new.
    """
    connection.execute(_LOCK, {"study_id": study_id})
    there = {_read_key(value) for value in connection.scalars(_LIST, {"study_id": study_id})}
    new = {planned.key: (planned, fixed) for planned, fixed in trials if planned.key not in there}
    for planned, fixed in new.values():
        insert_waiting(connection, study_id, Waiting(fixed, {PLANNED: planned.to_json()}))
    connection.execute(_SET_BUDGET, {"study_id": study_id, "budget": len(there) + len(new)})
    return len(new)


def _read_key(value_json: str) -> Key:
    found = json.loads(value_json)
    return found["round"], found["arm"], found["seed"]
