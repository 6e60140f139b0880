"""The ledger: the first experiment's own predictions, and what makes one a hit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.verdict.predictions import (
    RULE,
    RULE_PREDICTIONS,
    Judged,
    Prediction,
    calibrate,
    predict_by_rule,
)

# baseline and v1.2, image AUROC of one run each
FIRST_EXPERIMENT = {
    "fruit_jelly": (0.6158, 0.6083),
    "fabric": (0.6532, 0.6532),
    "can": (0.5468, 0.5460),
    "sheet_metal": (0.3583, 0.3583),
    "vial": (0.6990, 0.6974),
    "wallplugs": (0.4359, 0.4356),
    "walnuts": (0.5685, 0.5722),
}
_GAINS = st.floats(-1, 1)


def judge_first_experiment() -> dict[str, Judged]:
    found = {}
    for category, (before, after) in FIRST_EXPERIMENT.items():
        change = round(after - before, 4)
        prediction = Prediction(RULE, predict_by_rule(category))
        found[category] = Judged(prediction, change, change - 0.01, change + 0.01)
    return found


def test_two_of_the_first_experiments_seven_predictions_held() -> None:
    judged = judge_first_experiment()
    assert {category for category, one in judged.items() if one.held} == {"fabric", "vial"}


def test_of_its_five_gains_none_came_true_in_size_and_one_in_direction() -> None:
    gains = {category: one for category, one in judge_first_experiment().items() if one.prediction.gain > 0}
    assert len(gains) == 5
    assert not any(one.is_size_reached for one in gains.values())
    assert [category for category, one in gains.items() if one.is_direction_right] == ["walnuts"]


def test_its_record() -> None:
    (record,) = calibrate(list(judge_first_experiment().values()))
    assert (record.source, record.n) == (RULE, 7)
    assert (record.directions_right, record.sizes_reached, record.held, record.inside) == (3, 2, 2, 5)
    assert record.mean_predicted == pytest.approx(0.0605 / 7)
    assert record.mean_confirmed == pytest.approx(-0.0009, abs=5e-5)
    assert record.mean_error == pytest.approx((0.0605 + 0.0065) / 7)


def test_the_rule_promises_nothing_where_it_is_the_standard() -> None:
    assert predict_by_rule("rice") == 0.0
    assert reference_parameters("v1.2", "rice", 64) == reference_parameters("v1.1", "rice", 64)
    assert predict_by_rule("fruit_jelly") == 0.0334
    assert set(RULE_PREDICTIONS) == set(FIRST_EXPERIMENT)


@pytest.mark.parametrize(
    ("predicted", "confirmed", "direction", "size"),
    [
        (0.02, 0.03, True, True),
        (0.02, 0.02, True, True),
        (0.02, 0.01, True, False),
        (0.02, 0.0, False, False),
        (0.02, -0.01, False, False),
        (0.0, 0.0, True, True),
        (-0.02, 0.0, True, True),
        (-0.02, -0.01, True, True),
        (-0.02, -0.03, True, False),
        (-0.02, 0.01, False, True),
    ],
)
def test_what_makes_a_hit(predicted: float, confirmed: float, direction: bool, size: bool) -> None:
    judged = Judged(Prediction("engineer", predicted), confirmed, confirmed - 0.1, confirmed + 0.1)
    assert (judged.is_direction_right, judged.is_size_reached) == (direction, size)
    assert judged.held == (direction and size)


@given(_GAINS, _GAINS, st.floats(0, 1))
def test_inside_is_within_both_bounds(predicted: float, confirmed: float, half_width: float) -> None:
    low, high = confirmed - half_width, confirmed + half_width
    judged = Judged(Prediction("search", predicted), confirmed, low, high)
    assert judged.is_inside == (max(low, min(predicted, high)) == predicted)


@given(st.lists(st.tuples(st.sampled_from("abc"), _GAINS, _GAINS), max_size=12))
def test_each_source_has_its_own_record(rows: list[tuple[str, float, float]]) -> None:
    judged = [Judged(Prediction(source, gain), found, found - 0.1, found + 0.1) for source, gain, found in rows]
    records = calibrate(judged)
    assert [record.source for record in records] == list(dict.fromkeys(source for source, _, _ in rows))
    assert sum(record.n for record in records) == len(rows)
    for record in records:
        alone = [one for one in judged if one.prediction.source == record.source]
        assert calibrate(alone) == [record]
        assert record.held <= min(record.directions_right, record.sizes_reached)
        assert record.mean_error == pytest.approx(record.mean_predicted - record.mean_confirmed)
