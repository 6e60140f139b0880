"""Trials as Optuna builds them, out of rows that were read in one statement."""

import json
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Row

from anomalyvfm_opt.store.trial_sql import load_pairs, read_value, to_local


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
        user_attrs={key: json.loads(value) for key, value in load_pairs(row.user_attributes)},
        system_attrs={key: json.loads(value) for key, value in load_pairs(row.system_attributes)},
        intermediate_values={step: read_value(value, kind) for step, value, kind in load_pairs(row.steps)},
    )


@lru_cache(maxsize=4096)
def read_distribution(text: str) -> BaseDistribution:
    """Return a distribution from Optuna's JSON; a study has few of them, so each is built once."""
    return json_to_distribution(text)
