"""The statements that read trials out of Optuna's tables, and what their columns mean, without Optuna.

What belongs to a trial comes as JSON, made by the server. A number keeps its last digit on this way: PostgreSQL
writes the shortest text that reads back the same.
"""

import json
import logging
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text

from anomalyvfm_opt.spec.shown import show_value

_log = logging.getLogger(__name__)
_NOT_FINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
COUNT_TRIALS = text("""
    SELECT (SELECT count(*) FROM trials t
             WHERE t.study_id = s.study_id
               AND (CAST(:states AS trialstate[]) IS NULL OR t.state = ANY(CAST(:states AS trialstate[]))))
      FROM studies s WHERE s.study_id = :study_id
""")
_STARTED = "t.trial_id, t.number, t.state, t.datetime_start, t.datetime_complete"
_PARAMS = """
    CAST((SELECT json_agg(json_build_array(p.param_name, p.param_value, p.distribution_json) ORDER BY p.param_id)
            FROM trial_params p WHERE p.trial_id = t.trial_id) AS text) AS params
"""
_REACHED = """
    CAST((SELECT json_agg(json_build_array(v.value, v.value_type) ORDER BY v.objective)
            FROM trial_values v WHERE v.trial_id = t.trial_id) AS text) AS reached
"""
_USER_ATTRIBUTES = """
    CAST((SELECT json_agg(json_build_array(u.key, u.value_json) ORDER BY u.trial_user_attribute_id)
            FROM trial_user_attributes u WHERE u.trial_id = t.trial_id) AS text) AS user_attributes
"""
_SYSTEM_ATTRIBUTES = """
    CAST((SELECT json_agg(json_build_array(s.key, s.value_json) ORDER BY s.trial_system_attribute_id)
            FROM trial_system_attributes s WHERE s.trial_id = t.trial_id) AS text) AS system_attributes
"""
_STEPS = """
    CAST((SELECT json_agg(json_build_array(i.step, i.intermediate_value, i.intermediate_value_type)
                          ORDER BY i.trial_intermediate_value_id)
            FROM trial_intermediate_values i WHERE i.trial_id = t.trial_id) AS text) AS steps
"""
_COLUMNS = ", ".join((_STARTED, _PARAMS, _REACHED, _USER_ATTRIBUTES, _SYSTEM_ATTRIBUTES, _STEPS))
_NO_ATTRIBUTES = ", ".join(
    (_STARTED, _PARAMS, _REACHED, "CAST(NULL AS text) AS user_attributes", _SYSTEM_ATTRIBUTES, _STEPS)
)
SELECT_TRIAL = text(f"SELECT {_COLUMNS} FROM trials t WHERE t.trial_id = :trial_id")  # noqa: S608
# All that a study's own readers want of its trials.
SELECT_STORED = text(f"""
    SELECT {_STARTED}, {_PARAMS}, {_REACHED}, {_USER_ATTRIBUTES} FROM trials t
     WHERE t.study_id = :study_id ORDER BY t.trial_id
""")  # noqa: S608
_NOTED = f"""
    SELECT t.study_id, {_STARTED}, NULL AS params, {_REACHED},
           CAST((SELECT json_agg(json_build_array(u.key, u.value_json)) FROM trial_user_attributes u
                  WHERE u.trial_id = t.trial_id AND u.key = ANY(:keys)) AS text) AS user_attributes
      FROM trials t
"""  # noqa: S608
AUROC_ROUNDING = 1e-6  # by which one may lie outside of 0-1
# The JSON of one user attribute of a trial t, by its name.
FIND_ATTRIBUTE = (
    "(SELECT u.value_json FROM trial_user_attributes u WHERE u.trial_id = t.trial_id AND u.key = '{}')"
)
_FINDINGS = FIND_ATTRIBUTE.format("findings")
# What `is_unsound` says of the findings, on their text: a quote within a message is escaped there.
_IS_SOUND = f"coalesce({_FINDINGS}, '') !~ '\"severity\": *\"broken\"'"
# OFFSET keeps the sorting inside: the findings are read from the best trial on, until one is sound. As a join, the
# values of all studies would be read for each.
_BEST = f"""
    SELECT t.trial_id, t.value
      FROM (SELECT c.trial_id,
                   (SELECT v.value FROM trial_values v
                     WHERE v.trial_id = c.trial_id AND v.objective = 0
                       AND v.value BETWEEN -{AUROC_ROUNDING} AND 1 + {AUROC_ROUNDING}) AS value
              FROM trials c WHERE c.study_id = {{study}} AND c.state = 'COMPLETE'
             ORDER BY value DESC NULLS LAST, c.trial_id OFFSET 0) AS t
     WHERE {_IS_SOUND} LIMIT 1
"""  # noqa: S608
# Of many trials little: only the attributes that are named, no parameters.
SELECT_NOTED = text(f"{_NOTED} WHERE t.study_id = ANY(:study_ids) ORDER BY t.trial_id")
# The same of those alone that a study's summary names: references, the best, failures, and what the linter found.
SELECT_NOTABLE = text(f"""
    {_NOTED} WHERE t.study_id = :study_id AND t.trial_id IN (
        SELECT trial_id FROM ({_BEST.format(study=":study_id")}) AS best
         UNION ALL
        SELECT t.trial_id FROM trials t
         WHERE t.study_id = :study_id AND t.state = 'COMPLETE'
           AND (coalesce({_FINDINGS}, '[]') <> '[]' OR {FIND_ATTRIBUTE.format("reference")} IS NOT NULL)
         UNION ALL
        SELECT o.trial_id FROM trials f JOIN anomalyvfm_opt.trial_outcome o ON o.trial_id = f.trial_id
         WHERE f.study_id = :study_id AND o.is_final AND o.outcome <> 'completed'
    ) ORDER BY t.trial_id
""")  # noqa: S608
SELECT_BEST_VALUES = text(f"""
    SELECT s.study_id, best.value FROM anomalyvfm_opt.study s,
           LATERAL ({_BEST.format(study="s.study_id")}) AS best
""")  # noqa: S608
_ALL = "t.study_id = s.study_id"
_NEWER = f"{_ALL} AND t.trial_id > :after"
_NEWER_OR_LISTED = f"{_ALL} AND (t.trial_id > :after OR t.trial_id = ANY(:listed))"
_OF_STATES = " AND t.state = ANY(CAST(:states AS trialstate[]))"


def select_trials(
    *, is_after: bool, is_listed: bool, is_of_states: bool, has_user_attributes: bool = True
) -> TextClause:
    """Return the statement for trials of a study; a study without such trials gives one row without a trial.

    It gives the first `:most` of them, all if that is NULL.

    Args:
        is_after: only trials with ids above `:after`.
        is_listed: also those whose ids are among `:listed`; needs `is_after`.
        is_of_states: of these only trials whose states are among `:states`.
        has_user_attributes: else the column is NULL, which saves most of the time and memory of a large study.
    """
    which = _NEWER_OR_LISTED if is_listed else _NEWER if is_after else _ALL
    return _select(
        _COLUMNS if has_user_attributes else _NO_ATTRIBUTES, which + (_OF_STATES if is_of_states else "")
    )


@lru_cache
def _select(columns: str, condition: str) -> TextClause:
    return text(
        f"SELECT {columns} FROM studies s LEFT JOIN trials t ON {condition}"  # noqa: S608
        " WHERE s.study_id = :study_id ORDER BY t.trial_id LIMIT :most"
    )


def read_value(value: float | str | None, kind: str) -> float:
    """Return a number from its column and kind; JSON has no NaN, so PostgreSQL spells one as text."""
    return _NOT_FINITE[kind] if value is None else float(value)


def load_pairs(text: str | None) -> Sequence[Any]:
    """Return the rows that the server made JSON of; none where there are none."""
    loaded: Sequence[Any] = json.loads(text) if text is not None else ()
    return loaded


def load_attributes(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return a trial's attributes; one that is no JSON, which neither we nor Optuna write, is left out.

    Args:
        pairs: names and JSON.
    """
    attributes = {}
    for key, value in pairs:
        try:
            attributes[key] = json.loads(value)
        except (TypeError, ValueError, RecursionError):
            _log.warning(
                "an attribute %s of a trial is left out: %s is not JSON", show_value(key), show_value(value)
            )
    return attributes


def to_local(moment: datetime | None) -> datetime | None:
    """Naive UTC, as stored, to the naive local time of Optuna's trials."""
    return None if moment is None else moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def to_utc(moment: datetime | None) -> datetime | None:
    """Naive local time to the naive UTC that is stored."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
