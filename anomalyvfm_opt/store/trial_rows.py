"""Trials as Optuna builds them, new ones and out of rows that were read in one statement."""

from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Row

from anomalyvfm_opt.store.trial_sql import load_attributes, load_pairs, read_value, to_local


def build_trial(row: Row[Any]) -> FrozenTrial:
    """Return a trial as Optuna builds it from its own rows.

    Args:
        row: of `SELECT_TRIAL` or `select_trials`.
    """
    suggested = [(name, float(value), read_distribution(text)) for name, value, text in load_pairs(row.params)]
    values = [read_value(value, kind) for value, kind in load_pairs(row.reached)]
    return FrozenTrial(
        trial_id=row.trial_id,
        number=row.number,
        state=TrialState[row.state],
        value=None,
        values=values or None,
        datetime_start=to_local(row.datetime_start),
        datetime_complete=to_local(row.datetime_complete),
        params={name: distribution.to_external_repr(value) for name, value, distribution in suggested},
        distributions={name: distribution for name, _, distribution in suggested},
        user_attrs=load_attributes(load_pairs(row.user_attributes)),
        system_attrs=load_attributes(load_pairs(row.system_attributes)),
        intermediate_values={step: read_value(value, kind) for step, value, kind in load_pairs(row.steps)},
    )


def start_trial() -> FrozenTrial:
    """Return a trial that begins when it is stored; it has no number and no id yet."""
    return FrozenTrial(
        number=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )


@lru_cache(maxsize=4096)
def read_distribution(text: str) -> BaseDistribution:
    """Return a distribution from Optuna's JSON; a study has few of them, so each is built once."""
    return json_to_distribution(text)
