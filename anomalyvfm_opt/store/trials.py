"""A study's trials as commands that only read want them: without Optuna, whose import they would pay for."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import Engine, Row

from anomalyvfm_opt.store.trial_sql import (
    AUROC_ROUNDING,
    SELECT_BEST_VALUES,
    SELECT_NOTABLE,
    SELECT_NOTED,
    SELECT_STORED,
    load_attributes,
    load_pairs,
    read_value,
    to_local,
)


class TrialState(StrEnum):
    """Optuna's states of a trial, by the names that its tables hold."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"
    WAITING = "WAITING"

    def is_finished(self) -> bool:
        """Return whether nothing changes any more."""
        return self not in (TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True)
class StoredTrial:
    """One trial of a study.

    Args:
        trial_id: unique in the store.
        number: counts from 0 in its study.
        state: of it.
        value: of the objective (AUROC); None before it is complete.
        params: the values that Optuna suggested, by their names.
        user_attrs: what we stored with it.
        datetime_start: naive local time, as Optuna has it; None while it waits.
        datetime_complete: likewise; None until it is finished.
    """

    trial_id: int
    number: int
    state: TrialState
    value: float | None
    params: Mapping[str, Any]
    user_attrs: Mapping[str, Any]
    datetime_start: datetime | None
    datetime_complete: datetime | None

    @property
    def duration(self) -> timedelta | None:
        """How long it ran; None unless it has run to an end."""
        if self.datetime_start is None or self.datetime_complete is None:
            return None
        return self.datetime_complete - self.datetime_start


def is_auroc(value: float) -> bool:
    """Return whether a trial's value can be one: people tell Optuna others, and files may hold them."""
    return -AUROC_ROUNDING <= value <= 1 + AUROC_ROUNDING


def list_trials(engine: Engine, study_id: int) -> list[StoredTrial]:
    """Return all trials of a study in the order of their ids; none if there is no such study."""
    with engine.connect() as connection:
        return [_build_trial(row) for row in connection.execute(SELECT_STORED, {"study_id": study_id})]


def list_noted(
    engine: Engine, study_ids: Sequence[int], keys: Sequence[str]
) -> Mapping[int, Sequence[StoredTrial]]:
    """Return the trials of studies with a few of their attributes and without parameters: a study's id -> trials.

    A study of thousands of trials is read in a fraction of the time.

    Args:
        engine: of the study store.
        study_ids: of the studies; one without trials has none.
        keys: of the user attributes that are wanted.
    """
    found: dict[int, list[StoredTrial]] = defaultdict(list)
    with engine.connect() as connection:
        for row in connection.execute(SELECT_NOTED, {"study_ids": list(study_ids), "keys": list(keys)}):
            found[row.study_id].append(_build_trial(row))
    return found


def list_notable(engine: Engine, study_id: int, keys: Sequence[str]) -> list[StoredTrial]:
    """Return the trials that a study's summary names, as `list_noted` does.

    These are the complete ones that run a reference, that the linter found something in, or that have the best
    value that can be trusted, and those that failed for good.
    """
    with engine.connect() as connection:
        rows = connection.execute(SELECT_NOTABLE, {"study_id": study_id, "keys": list(keys)})
        return [_build_trial(row) for row in rows]


def find_best_values(engine: Engine) -> dict[int, float]:
    """Return the best value that can be trusted of each study that has one, by the study's id."""
    with engine.connect() as connection:
        return {row.study_id: row.value for row in connection.execute(SELECT_BEST_VALUES) if row.value is not None}


def _build_trial(row: Row[Any]) -> StoredTrial:
    values = [read_value(value, kind) for value, kind in load_pairs(row.reached)]
    return StoredTrial(
        trial_id=row.trial_id,
        number=row.number,
        state=TrialState(row.state),
        value=values[0] if values else None,
        params={name: _decode(float(value), text) for name, value, text in load_pairs(row.params)},
        user_attrs=load_attributes(load_pairs(row.user_attributes)),
        datetime_start=to_local(row.datetime_start),
        datetime_complete=to_local(row.datetime_complete),
    )


def _decode(value: float, distribution: str) -> Any:
    """Return a parameter's value out of the number that is stored for it, as its distribution does in Optuna."""
    kind, choices = _read_distribution(distribution)
    if kind.startswith("Categorical"):
        return choices[int(value)]
    return int(value) if kind.startswith("Int") else value


@lru_cache(maxsize=4096)
def _read_distribution(text: str) -> tuple[str, tuple[Any, ...]]:
    """Return the name of a distribution's class in Optuna, and its choices if it has any."""
    found = json.loads(text)
    return found["name"], tuple(found["attributes"].get("choices", ()))
