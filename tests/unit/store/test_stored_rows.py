"""A trial out of one row of Optuna's tables: each column means what Optuna means by it."""

import json
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from sqlalchemy import Row, create_engine, literal, null, select

from anomalyvfm_opt.store.trials import StoredTrial, TrialState, _build_trial

STARTED = datetime(2026, 1, 2, 23, 30)


@pytest.fixture
def _far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "UTC-9")  # nine hours before Greenwich
        time.tzset()
        yield
    time.tzset()


def make_row(**columns: Any) -> Row[Any]:
    """A row as SQL gives it: of a trial that waits, but for the columns that are named."""
    values: dict[str, Any] = {"trial_id": 9, "number": 3, "state": "WAITING", **columns}
    names = ("datetime_start", "datetime_complete", "params", "reached", "user_attributes")
    values = {**dict.fromkeys(names), **values}
    selected = [(null() if value is None else literal(value)).label(name) for name, value in values.items()]
    with create_engine("sqlite://").connect() as connection:
        return connection.execute(select(*selected)).one()


def build(**columns: Any) -> StoredTrial:
    return _build_trial(make_row(**columns))


def test_a_trial_that_waits_has_nothing_yet() -> None:
    assert build() == StoredTrial(
        trial_id=9,
        number=3,
        state=TrialState.WAITING,
        value=None,
        params={},
        user_attrs={},
        datetime_start=None,
        datetime_complete=None,
    )


@pytest.mark.parametrize(
    ("distribution", "stored"),
    [
        (CategoricalDistribution(("lora", "dora")), 1.0),
        (CategoricalDistribution((2, 4, "all", None, True)), 2.0),
        (CategoricalDistribution((2, 4, "all", None, True)), 4.0),
        (IntDistribution(1, 64, log=True), 16.0),
        (FloatDistribution(1e-5, 1e-3, log=True), 0.00012345678901234567),
        (FloatDistribution(0, 10, step=1), 3.0),
    ],
)
def test_a_parameter_is_what_its_distribution_makes_of_the_stored_number(
    distribution: BaseDistribution, stored: float
) -> None:
    params = json.dumps([["other", 1, distribution_to_json(IntDistribution(0, 5))]])[:-1]
    params += f", {json.dumps(['p', stored, distribution_to_json(distribution)])}]"
    found, expected = build(params=params).params["p"], distribution.to_external_repr(stored)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("reached", "value"),
    [
        ('[[0.8125, "FINITE"]]', 0.8125),
        ('[["0.5", "FINITE"]]', 0.5),
        ('[[null, "INF_NEG"]]', -math.inf),
        ('[[0.7, "FINITE"], [0.9, "FINITE"]]', 0.7),
        ("[]", None),
        (None, None),
    ],
)
def test_the_value_is_the_first_objectives(reached: str | None, value: float | None) -> None:
    assert build(reached=reached).value == value


def test_attributes_are_json_inside_json_and_keep_their_types() -> None:
    stored = {"findings": [], "scorer": "ensemble", "seconds": 1.5, "micro_batch": None}
    pairs = [[name, json.dumps(value)] for name, value in stored.items()]
    assert build(user_attributes=json.dumps(pairs)).user_attrs == stored


@pytest.mark.usefixtures("_far_from_greenwich")
def test_stored_times_are_utc_and_shown_ones_local() -> None:
    trial = build(state="COMPLETE", datetime_start=STARTED, datetime_complete=STARTED + timedelta(seconds=90))
    assert trial.datetime_start == datetime(2026, 1, 3, 8, 30)
    assert trial.datetime_start.timestamp() == STARTED.replace(tzinfo=UTC).timestamp()
    assert trial.duration == timedelta(seconds=90)
    assert build(state="RUNNING", datetime_start=STARTED).duration is None


def test_a_state_that_nobody_knows_is_an_error_and_two_states_may_change_yet() -> None:
    assert [state for state in TrialState if not state.is_finished()] == ["RUNNING", "WAITING"]
    with pytest.raises(ValueError, match="DREAMING"):
        build(state="DREAMING")
