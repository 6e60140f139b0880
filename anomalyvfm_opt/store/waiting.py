"""Trials that wait to be asked for, as `study.enqueue_trial` makes them, but in a transaction of the caller's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.spec.shown import shorten
from anomalyvfm_opt.store.planned import ANY_SIZE_PX, Key, Planned
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.store.trial_sql import load_attributes

_LIST = text("""
    SELECT a.value_json FROM trial_user_attributes a JOIN trials t ON t.trial_id = a.trial_id
     WHERE t.study_id = :study_id AND a.key = 'planned'
""")
_LOCK = text("SELECT FROM anomalyvfm_opt.study WHERE study_id = :study_id FOR UPDATE")
_SET_BUDGET = text("UPDATE anomalyvfm_opt.study SET budget = :budget WHERE study_id = :study_id")


@dataclass(frozen=True)
class Waiting:
    """What a trial that waits to be asked for begins with."""

    parameters: Mapping[str, Any]  # as Optuna knows them; empty where it does not
    record: TrialRecord


def insert_waiting(connection: Connection, study_id: int, trial: Waiting) -> None:
    """Let a trial wait, as `study.enqueue_trial` does, in the caller's transaction."""
    from optuna.trial import TrialState, create_trial  # here, because commands that read siblings need none of it

    from anomalyvfm_opt.store import trial_writes as writes

    new = create_trial(
        state=TrialState.WAITING,
        user_attrs=trial.record.to_attributes(),
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
        insert_waiting(connection, study_id, Waiting(fixed, TrialRecord(planned=planned.to_json())))
    connection.execute(_SET_BUDGET, {"study_id": study_id, "budget": len(there) + len(new)})
    return len(new)


def _read_key(value_json: str) -> Key:
    stored = load_attributes([("planned", value_json)])
    planned = TrialRecord.from_attributes(stored).read_planned(ANY_SIZE_PX)
    if planned is None:
        raise EnvironmentMissingError(
            f"a training that `confirm` planned cannot be read any more: {shorten(value_json)}",
            "somebody changed it: restore the store, or delete that sibling study and call `confirm` again",
        )
    return planned.key
