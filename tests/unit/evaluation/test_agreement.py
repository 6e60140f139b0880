import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from anomalyvfm_opt.evaluation.agreement import correlate_ranks, value_of_pick

# AUROC of few images: multiples of one pair, with many ties
_VALUES = st.integers(0, 12).map(lambda pairs: pairs / 12)
_PAIRS = st.lists(st.tuples(_VALUES, _VALUES), min_size=5, max_size=25).map(lambda pairs: np.array(pairs).T)


@given(_PAIRS)
def test_rho_is_scipys_and_lies_in_its_interval(pairs: np.ndarray) -> None:
    assume(np.ptp(pairs[0]) > 0 and np.ptp(pairs[1]) > 0)
    found = correlate_ranks(*pairs)
    assert found.rho == pytest.approx(stats.spearmanr(*pairs).statistic, abs=1e-12)
    assert found.low is not None
    assert found.high is not None
    assert -1 <= found.low <= found.rho <= found.high <= 1
    assert found.low < found.high


@given(_PAIRS)
def test_only_the_order_counts_and_its_reverse_turns_the_interval_round(pairs: np.ndarray) -> None:
    one, other = pairs
    found, bent, turned = (
        correlate_ranks(one, other),
        correlate_ranks(np.exp(3 * one), other),
        correlate_ranks(other, -one),
    )
    assert bent == found
    if found.rho is None or found.low is None or found.high is None:
        assert turned == found
    else:
        assert (turned.rho, turned.low, turned.high) == pytest.approx((-found.rho, -found.high, -found.low))


def test_the_interval_is_that_of_bonett_and_wright() -> None:
    one, other = [1, 2, 3, 4, 5, 6, 7, 8], [2, 1, 4, 3, 6, 5, 8, 7]
    found = correlate_ranks(one, other)
    rho = 1 - 6 * 8 / (8 * 63)
    half_width = 1.959964 * math.sqrt((1 + rho**2 / 2) / 5)
    expected = (rho, math.tanh(math.atanh(rho) - half_width), math.tanh(math.atanh(rho) + half_width))
    assert (found.rho, found.low, found.high) == pytest.approx(expected, abs=1e-6)


def test_a_perfect_order_is_no_certainty() -> None:
    """Fisher's z is infinite there; five trials in order are seen once in 120 by chance."""
    found, reverse = correlate_ranks(range(8), range(8)), correlate_ranks(range(8), range(8, 0, -1))
    swapped = correlate_ranks(range(8), [1, 0, 2, 3, 4, 5, 6, 7])
    assert swapped.rho is not None
    assert swapped.rho < 1
    assert (found.rho, found.low, found.high) == (1, pytest.approx(swapped.low), 1)
    assert (reverse.rho, reverse.low, reverse.high) == (-1, -1, pytest.approx(-(swapped.low or 0)))
    assert (correlate_ranks(range(5), range(5)).low or 0) < 0.5


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_what_is_too_little_to_say_is_not_said(n: int) -> None:
    constant = correlate_ranks([0.5] * 9, range(9))
    assert (constant.rho, constant.low, constant.high, constant.n) == (None, None, None, 9)
    few = correlate_ranks(range(n), range(n))
    assert few.rho == (1.0 if n >= 2 else None)
    assert (few.low, few.high, few.n) == (None, None, n)


@pytest.mark.parametrize(("n", "r"), [(8, 0.0), (12, 0.6), (30, 0.9)])
def test_intervals_hold_the_true_rho_as_often_as_they_say(n: int, r: float) -> None:
    """Simulated from the normal law, whose rho is 6 / pi asin(r / 2)."""
    rng = np.random.default_rng(0)
    truth = 6 / math.pi * math.asin(r / 2)
    covered = 0
    for _ in range(1500):
        one = rng.standard_normal(n)
        found = correlate_ranks(one, r * one + math.sqrt(1 - r * r) * rng.standard_normal(n))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert 0.935 < covered / 1500 < 0.985


@given(_PAIRS)
def test_a_pick_is_no_better_than_the_best(pairs: np.ndarray) -> None:
    proxy, values = pairs
    assert values.min() - 1e-12 <= value_of_pick(proxy, values) <= values.max() + 1e-12
    assert value_of_pick(values, values) == pytest.approx(values.max())


def test_of_trials_that_the_proxy_likes_alike_any_may_be_picked() -> None:
    assert value_of_pick([0.9, 1.0, 1.0], [0.8, 0.7, 0.5]) == pytest.approx(0.6)


def test_values_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="equally long"):
        correlate_ranks([1, 2], [1])
    with pytest.raises(ValueError, match="NaN"):
        correlate_ranks([1, math.nan], [1, 2])
    with pytest.raises(ValueError, match="no trial"):
        value_of_pick([], [])
