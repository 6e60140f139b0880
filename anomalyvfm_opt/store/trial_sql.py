"""The statements that read trials out of Optuna's tables, and what their columns mean, without Optuna.

What belongs to a trial comes as JSON, made by the server. A number keeps its last digit on this way: PostgreSQL
writes the shortest text that reads back the same.
"""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text

_NOT_FINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
_COLUMNS = """
    t.trial_id, t.number, t.state, t.datetime_start, t.datetime_complete,
    CAST((SELECT json_agg(json_build_array(p.param_name, p.param_value, p.distribution_json) ORDER BY p.param_id)
            FROM trial_params p WHERE p.trial_id = t.trial_id) AS text) AS params,
    CAST((SELECT json_agg(json_build_array(v.value, v.value_type) ORDER BY v.objective)
            FROM trial_values v WHERE v.trial_id = t.trial_id) AS text) AS reached,
    CAST((SELECT json_agg(json_build_array(u.key, u.value_json) ORDER BY u.trial_user_attribute_id)
            FROM trial_user_attributes u WHERE u.trial_id = t.trial_id) AS text) AS user_attributes,
    CAST((SELECT json_agg(json_build_array(s.key, s.value_json) ORDER BY s.trial_system_attribute_id)
            FROM trial_system_attributes s WHERE s.trial_id = t.trial_id) AS text) AS system_attributes,
    CAST((SELECT json_agg(json_build_array(i.step, i.intermediate_value, i.intermediate_value_type)
                          ORDER BY i.trial_intermediate_value_id)
            FROM trial_intermediate_values i WHERE i.trial_id = t.trial_id) AS text) AS steps
"""
SELECT_TRIAL = text(f"SELECT {_COLUMNS} FROM trials t WHERE t.trial_id = :trial_id")  # noqa: S608
_ALL = "t.study_id = s.study_id"
_NEWER = f"{_ALL} AND t.trial_id > :after"
_NEWER_OR_LISTED = f"{_ALL} AND (t.trial_id > :after OR t.trial_id = ANY(:listed))"
_OF_STATES = " AND t.state = ANY(CAST(:states AS trialstate[]))"


def select_trials(*, is_after: bool, is_listed: bool, is_of_states: bool) -> TextClause:
    """Return the statement for trials of a study; a study without such trials gives one row without a trial.

    Args:
        is_after: only trials with ids above `:after`.
        is_listed: also those whose ids are among `:listed`; needs `is_after`.
        is_of_states: of these only trials whose states are among `:states`.
    """
    which = _NEWER_OR_LISTED if is_listed else _NEWER if is_after else _ALL
    return _select(which + (_OF_STATES if is_of_states else ""))


@lru_cache
def _select(condition: str) -> TextClause:
    return text(
        f"SELECT {_COLUMNS} FROM studies s LEFT JOIN trials t ON {condition}"  # noqa: S608
        " WHERE s.study_id = :study_id ORDER BY t.trial_id"
    )


def read_value(value: float | str | None, kind: str) -> float:
    """Return a number from its column and kind; JSON has no NaN, so PostgreSQL spells one as text."""
    return _NOT_FINITE[kind] if value is None else float(value)


def load_pairs(text: str | None) -> Sequence[Any]:
    """Return the rows that the server made JSON of; none where there are none."""
    loaded: Sequence[Any] = json.loads(text) if text is not None else ()
    return loaded


def to_local(moment: datetime | None) -> datetime | None:
    """Naive UTC, as stored, to the naive local time of Optuna's trials."""
    return None if moment is None else moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def to_utc(moment: datetime | None) -> datetime | None:
    """Naive local time to the naive UTC that is stored."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
