"""The statements that write Optuna's tables, and what fills them.

Each that writes to a trial answers the state that the trial had, or nothing if there is no such trial; a finished
trial is left as it is. Its row is locked meanwhile, so that it is not finished between look and write.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial
from sqlalchemy import TextClause, text

from anomalyvfm_opt.store.optuna_private import split_step, split_value
from anomalyvfm_opt.store.trial_sql import to_utc

Suggested = Mapping[str, tuple[float, BaseDistribution]]  # name -> value in internal form, distribution

_PARAMETERS = """
    INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
    SELECT t.trial_id, a.name, a.value, a.distribution
      FROM t, unnest(CAST(:parameter_names AS text[]), CAST(:parameter_values AS double precision[]),
                     CAST(:parameter_distributions AS text[]))
              WITH ORDINALITY AS a (name, value, distribution, place)
"""
_VALUES = """
    INSERT INTO trial_values (trial_id, objective, value, value_type)
    SELECT t.trial_id, a.place - 1, a.value, a.kind
      FROM t, unnest(CAST(:values AS double precision[]), CAST(:value_kinds AS trialvaluetype[]))
              WITH ORDINALITY AS a (value, kind, place)
"""
_STEPS = """
    INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
    SELECT t.trial_id, a.step, a.value, a.kind
      FROM t, unnest(CAST(:steps AS bigint[]), CAST(:step_values AS double precision[]),
                     CAST(:step_kinds AS trialintermediatevaluetype[]))
              WITH ORDINALITY AS a (step, value, kind, place)
"""
_USER_ATTRIBUTES = """
    INSERT INTO trial_user_attributes (trial_id, key, value_json)
    SELECT t.trial_id, a.key, a.value
      FROM t, unnest(CAST(:user_keys AS text[]), CAST(:user_values AS text[]))
              WITH ORDINALITY AS a (key, value, place)
"""
_SYSTEM_ATTRIBUTES = """
    INSERT INTO trial_system_attributes (trial_id, key, value_json)
    SELECT t.trial_id, a.key, a.value
      FROM t, unnest(CAST(:system_keys AS text[]), CAST(:system_values AS text[]))
              WITH ORDINALITY AS a (key, value, place)
"""
_IN_ORDER = " ORDER BY a.place"
_IF_OPEN = " WHERE t.state IN ('RUNNING', 'WAITING') ORDER BY a.place ON CONFLICT "
_OVERWRITE_VALUE = "(trial_id, key) DO UPDATE SET value_json = excluded.value_json"


def _write(insertion: str, on_conflict: str) -> TextClause:
    return text(f"""
        WITH t AS (SELECT trial_id, state FROM trials WHERE trial_id = :trial_id FOR SHARE),
             written AS ({insertion}{_IF_OPEN}{on_conflict})
        SELECT state FROM t
    """)  # noqa: S608


# Of two values for one parameter Optuna's own tables keep the first, without a word.
SET_PARAMETERS = _write(_PARAMETERS, "(trial_id, param_name) DO NOTHING")
SET_USER_ATTRIBUTES = _write(_USER_ATTRIBUTES, _OVERWRITE_VALUE)
SET_SYSTEM_ATTRIBUTES = _write(_SYSTEM_ATTRIBUTES, _OVERWRITE_VALUE)
SET_STEPS = _write(
    _STEPS,
    """(trial_id, step) DO UPDATE SET intermediate_value = excluded.intermediate_value,
       intermediate_value_type = excluded.intermediate_value_type""",
)
# One clock for the beginning and the end of a trial, whichever hosts they come from: costs are their difference.
_NOW = "clock_timestamp() AT TIME ZONE 'utc'"
SET_STATE = text(f"""
    SELECT FROM trials WHERE trial_id = :trial_id FOR UPDATE;
    WITH t AS (SELECT trial_id, state FROM trials WHERE trial_id = :trial_id),
         written AS ({_VALUES}{_IF_OPEN}
                     (trial_id, objective) DO UPDATE SET value = excluded.value, value_type = excluded.value_type),
         changed AS (UPDATE trials
                        SET state = CAST(:state AS trialstate),
                            datetime_start = CASE WHEN :state = 'RUNNING' THEN {_NOW}
                                                  ELSE trials.datetime_start END,
                            datetime_complete = CASE WHEN :state IN ('COMPLETE', 'PRUNED', 'FAIL') THEN {_NOW}
                                                     ELSE trials.datetime_complete END
                       FROM t
                      WHERE trials.trial_id = t.trial_id
                        AND (t.state = 'WAITING' OR (t.state = 'RUNNING' AND :state <> 'RUNNING')))
    SELECT state FROM t
""")  # noqa: S608

# The lock on the study's row is Optuna's: it is what makes the numbers of trials unique and without gaps.
_LOCK_STUDY = "SELECT FROM studies WHERE study_id = :study_id FOR UPDATE;"
_NEW_TRIAL = """
    INSERT INTO trials (study_id, number, state, datetime_start, datetime_complete)
    SELECT s.study_id, (SELECT count(*) FROM trials past WHERE past.study_id = s.study_id),
           CAST(:state AS trialstate), {started}, CAST(:completed AS timestamp)
      FROM studies s WHERE s.study_id = :study_id
    RETURNING trial_id, number, datetime_start
"""
CREATE = text(_LOCK_STUDY + _NEW_TRIAL.format(started=_NOW))
CREATE_LIKE = text(f"""
    {_LOCK_STUDY}
    WITH t AS ({_NEW_TRIAL.format(started="CAST(:started AS timestamp)")}),
         a1 AS ({_PARAMETERS}{_IN_ORDER}),
         a2 AS ({_VALUES}{_IN_ORDER}),
         a3 AS ({_STEPS}{_IN_ORDER}),
         a4 AS ({_USER_ATTRIBUTES}{_IN_ORDER}),
         a5 AS ({_SYSTEM_ATTRIBUTES}{_IN_ORDER})
    SELECT trial_id, number, datetime_start FROM t
""")  # noqa: S608
READ_STATE = text("SELECT study_id, state FROM trials WHERE trial_id = :trial_id")
FIND_DISTRIBUTIONS = text("""
    SELECT a.name, found.distribution_json
      FROM unnest(CAST(:names AS text[])) AS a (name),
           LATERAL (SELECT p.distribution_json FROM trials t JOIN trial_params p ON p.trial_id = t.trial_id
                     WHERE t.study_id = :study_id AND p.param_name = a.name LIMIT 1) AS found
""")
FIND_NUMBER = text("SELECT trial_id FROM trials WHERE study_id = :study_id AND number = :number")


def describe_trial(trial: FrozenTrial, suggested: Suggested) -> dict[str, Any]:
    """Return what `CREATE_LIKE` takes, and `CREATE` too, beside the study; the latter begins now.

    Args:
        trial: to be stored as it stands, under a new number and id.
        suggested: its parameters.
    """
    return {
        "state": trial.state.name,
        "started": to_utc(trial.datetime_start),
        "completed": to_utc(trial.datetime_complete),
        **describe_parameters(suggested),
        **describe_values(trial.values or ()),
        **describe_steps(trial.intermediate_values),
        **_describe_attributes("user", trial.user_attrs),
        **_describe_attributes("system", trial.system_attrs),
    }


def describe_parameters(suggested: Suggested) -> dict[str, Any]:
    """Return what `SET_PARAMETERS` takes beside the trial."""
    return {
        "parameter_names": list(suggested),
        "parameter_values": [float(value) for value, _ in suggested.values()],
        "parameter_distributions": [distribution_to_json(kind) for _, kind in suggested.values()],
    }


def describe_user_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `SET_USER_ATTRIBUTES` takes beside the trial."""
    return _describe_attributes("user", attributes)


def describe_system_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `SET_SYSTEM_ATTRIBUTES` takes beside the trial."""
    return _describe_attributes("system", attributes)


def describe_values(values: Sequence[float]) -> dict[str, Any]:
    """Return what `SET_STATE` takes of the values of a trial's objectives."""
    numbers, kinds = _split(split_value(value) for value in values)
    return {"values": numbers, "value_kinds": kinds}


def describe_steps(values: Mapping[int, float]) -> dict[str, Any]:
    """Return what `SET_STEPS` takes beside the trial."""
    numbers, kinds = _split(split_step(value) for value in values.values())
    return {"steps": list(values), "step_values": numbers, "step_kinds": kinds}


def _describe_attributes(kind: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    texts = [json.dumps(value) for value in attributes.values()]
    return {f"{kind}_keys": list(attributes), f"{kind}_values": texts}


def _split(pairs: Iterable[tuple[float | None, str]]) -> tuple[list[float | None], list[str]]:
    """Return numbers and the names of their kinds; an infinite number, and NaN at a step, is NULL with a kind."""
    stored = list(pairs)
    return [None if number is None else float(number) for number, _ in stored], [kind for _, kind in stored]
