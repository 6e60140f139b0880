"""How the synthetic objective stands in for the labelled one, over trials that no store was read for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.report.proxy import TwiceValued, compare_objectives

_VALUES = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)


def make_trial(synthetic: float, labelled: float) -> TwiceValued:
    return TwiceValued(
        synthetic=synthetic,
        labelled=labelled,
        synthetic_scorer="decoder",
        synthetic_auroc={"decoder": synthetic, "predictor": 1 - synthetic},
        labelled_auroc={"decoder": labelled, "predictor": labelled / 2},
    )


_TRIALS = st.lists(st.builds(make_trial, _VALUES, _VALUES), min_size=2, max_size=8)


def test_without_trials_nothing_is_picked() -> None:
    found = compare_objectives([])
    assert (found.has_labels, found.objectives.n, found.scorers, found.pick) == (True, 0, {}, None)


def test_the_same_order_is_a_correlation_of_one_and_its_pick_is_the_best() -> None:
    found = compare_objectives([make_trial(0.5 + i / 10, 0.6 + i / 20) for i in range(4)])
    assert found.objectives.rho == pytest.approx(1)
    assert found.scorers["decoder"].rho == pytest.approx(1)
    assert found.scorers["predictor"].rho == pytest.approx(-1)
    assert found.pick is not None
    assert (found.pick.picked, found.pick.best) == (0.75, 0.75)


def test_a_scorer_that_only_the_synthetic_exam_likes_is_picked_blindly() -> None:
    trials = [make_trial(0.5, 0.9), replace(make_trial(0.9, 0.8), synthetic_scorer="predictor")]
    found = compare_objectives(trials)
    assert found.pick is not None
    assert (found.pick.picked, found.pick.picked_blind) == (0.8, 0.4)


def test_a_scorer_that_a_trial_lacks_is_not_compared() -> None:
    trials = [make_trial(0.5, 0.9), replace(make_trial(0.9, 0.8), labelled_auroc={"decoder": 0.8})]
    assert list(compare_objectives(trials).scorers) == ["decoder"]


@given(_TRIALS, st.data())
def test_the_order_of_trials_changes_no_correlation(trials: list[TwiceValued], data: st.DataObject) -> None:
    ours, others = compare_objectives(trials), compare_objectives(data.draw(st.permutations(trials)))
    assert ours.objectives.n == others.objectives.n == len(trials)
    assert ours.objectives.rho == pytest.approx(others.objectives.rho)
    assert ours.pick is not None
    assert others.pick is not None
    assert (ours.pick.best, ours.pick.median) == (others.pick.best, others.pick.median)


@given(_TRIALS)
def test_no_pick_is_better_than_the_best(trials: list[TwiceValued]) -> None:
    pick = compare_objectives(trials).pick
    assert pick is not None
    assert pick.picked <= pick.best + 1e-12  # a mean over those that the synthetic objective likes equally
