"""The noise floor: what seeds alone do, to one trial and to the best of many."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.verdict.noise import NoiseFloor, expect_luck, expected_best, measure_noise

_VALUES = st.lists(st.floats(0, 1), min_size=2, max_size=10)


def test_figures_of_five_seeds() -> None:
    floor = measure_noise([0.70, 0.72, 0.74, 0.71, 0.73], 0.0001)
    assert floor is not None
    assert floor.mean == pytest.approx(0.72)
    assert floor.sd == pytest.approx(math.sqrt(0.0010 / 4))
    assert floor.least_difference == pytest.approx(2.776445 * floor.sd * math.sqrt(1.2), rel=1e-6)


@pytest.mark.parametrize("values", [[], [0.7]])
def test_one_seed_has_no_spread(values: list[float]) -> None:
    assert measure_noise(values, 0.0001) is None


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_one_more_seed_lies_within_the_least_difference_in_95_of_100_cases(seeds: int) -> None:
    draws = np.random.default_rng(seeds).normal(0.7, 0.02, (4000, seeds + 1))
    least = [NoiseFloor(tuple(row[:seeds]), 0.0001).least_difference for row in draws[:50]]
    assert least == pytest.approx(least_differences(draws[:50, :seeds]))
    inside = np.abs(draws[:, seeds] - draws[:, :seeds].mean(axis=1)) <= least_differences(draws[:, :seeds])
    assert inside.mean() == pytest.approx(0.95, abs=0.012)


def least_differences(values: np.ndarray) -> np.ndarray:
    """Of many rows at once: (n, k) -> (n,), with the t quantiles of a printed table."""
    k = values.shape[1]
    quantile = {2: 12.706205, 3: 4.302653, 5: 2.776445, 10: 2.262157}[k]
    found: np.ndarray = quantile * values.std(axis=1, ddof=1) * math.sqrt(1 + 1 / k)
    return found


@given(_VALUES, st.floats(0.1, 10))
def test_the_floor_scales_with_the_spread(values: list[float], factor: float) -> None:
    floor, scaled = NoiseFloor(tuple(values), 0.001), NoiseFloor(tuple(factor * v for v in values), factor * 0.001)
    assert scaled.least_difference == pytest.approx(factor * floor.least_difference, abs=1e-9)
    assert floor.least_difference >= floor.sd * 1.96


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seeds_that_agree_exactly_leave_about_one_step_of_noise_and_some_luck(seeds: int) -> None:
    """Three seeds with 0.9917 each said that one more pair of images in order was a finding."""
    step = 1 / (20 * 30)
    floor = measure_noise([0.9917] * seeds, step)
    assert floor is not None
    assert floor.sd == 0
    assert 0.8 * step < floor.least_difference < 5 * step
    assert 0 < expect_luck(floor, 12) < step


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        (1, 0.0),
        (2, 1 / math.sqrt(math.pi)),
        (3, 1.5 / math.sqrt(math.pi)),
        (5, 1.1629644736),
        (10, 1.5387527308),
        (50, 2.2490736),
        (100, 2.5075936),
    ],
)
def test_the_best_of_many_is_that_of_printed_tables(trials: int, expected: float) -> None:
    assert expected_best(trials) == pytest.approx(expected, abs=1e-6)


def test_the_best_of_very_many_still_is() -> None:
    """The extreme value limit: within a hundredth of the quantile of 1 - 0.5615 / n at a million."""
    assert expected_best(1_000_000) == pytest.approx(4.8634, abs=0.01)


@given(st.integers(1, 5000))
def test_more_trials_are_luckier(trials: int) -> None:
    assert expected_best(trials) < expected_best(trials + 1) < expected_best(trials) + 1


@pytest.mark.parametrize("trials", [0, -3])
def test_the_best_of_nothing_is_refused(trials: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        expected_best(trials)


def test_the_best_of_50_at_an_sd_of_0_013_shows_0_030_with_no_effect_at_all() -> None:
    """The winner's curse of docs/protocol.md."""
    floor = NoiseFloor((0.7 - 0.013 / math.sqrt(2), 0.7 + 0.013 / math.sqrt(2)), 0.0001)
    assert expect_luck(floor, 50) == pytest.approx(0.029, abs=0.001)
    assert expect_luck(floor, 1) == pytest.approx(0, abs=1e-9)
