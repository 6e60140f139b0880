import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.evaluation.clustered import auroc_variance
from anomalyvfm_opt.verdict.resolution import (
    MIN_GAIN,
    SEED_SD,
    assume_difference,
    find_widths,
    resolve,
    resolve_mean,
)

_SCENES = st.integers(2, 300)


def test_intervals_have_the_widths_that_simulations_of_mvtec_ad_2_gave() -> None:
    """Half-widths of 0.075-0.10 for a category (all its 4-12 good scenes), 0.032 for the mean over eight."""
    one = resolve(12, 15)
    assert one is not None
    assert 0.07 < one.half_width < 0.11
    mean = resolve_mean([(8, 15)] * 8)
    assert mean is not None
    assert 0.025 < mean.half_width < 0.045
    half = resolve(5, 8)
    assert half is not None
    assert half.half_width > one.half_width


def test_the_variance_is_that_of_simulated_scores() -> None:
    """Exponential scores, the model of Hanley and McNeil: anomalous ones are drawn three times as large."""
    rng = np.random.default_rng(0)
    normal, anomalous = rng.exponential(1.0, (20_000, 12)), rng.exponential(3.0, (20_000, 15))
    values = (anomalous[:, :, None] > normal[:, None, :]).mean(axis=(1, 2))
    assert values.mean() == pytest.approx(0.75, abs=0.005)
    assert auroc_variance(0.75, 15, 12) == pytest.approx(values.var(), rel=0.05)


@given(_SCENES, _SCENES, st.integers(1, 20))
def test_more_scenes_show_more_and_more_questions_show_less(good: int, bad: int, categories: int) -> None:
    here, more, asked = resolve(good, bad, categories), resolve(good + 5, bad + 5, categories), resolve(good, bad)
    assert here is not None
    assert more is not None
    assert asked is not None
    assert more.half_width < here.half_width
    assert here.half_width >= asked.half_width
    assert here.smallest_gain > MIN_GAIN + here.half_width


def test_a_mean_of_one_is_that_one() -> None:
    assert resolve_mean([(7, 9)]) == resolve(7, 9)


@pytest.mark.parametrize("scenes", [(1, 15), (15, 1), (0, 0)])
def test_a_single_scene_says_nothing(scenes: tuple[int, int]) -> None:
    assert resolve(*scenes) is None
    assert resolve_mean([(10, 10), scenes]) is None
    assert resolve_mean([]) is None


@given(_SCENES, _SCENES, st.integers(2, 50), st.floats(0, 0.2))
def test_what_is_assumed_is_what_is_used_where_nothing_is_measured(
    good: int, bad: int, seeds: int, seed_sd: float
) -> None:
    assert resolve(good, bad) == resolve(good, bad, seed_sd=SEED_SD)
    assert resolve_mean([(good, bad)], seeds=seeds) == resolve(good, bad, seeds=seeds)
    scenes = [(good, bad), (9, 9)]
    assert resolve_mean(scenes, seed_sd=[seed_sd, None]) == resolve_mean(scenes, seed_sd=[seed_sd, SEED_SD])


def test_moody_seeds_show_less_and_more_of_them_show_more() -> None:
    calm, moody = resolve(12, 15, seed_sd=0.0), resolve(12, 15, seed_sd=0.06)
    many = resolve(12, 15, seed_sd=0.06, seeds=50)
    assert calm is not None
    assert moody is not None
    assert many is not None
    assert calm.half_width < many.half_width < moody.half_width
    assert resolve(12, 15, seeds=1) is None
    assert resolve_mean([(12, 15)], seeds=1) is None


def test_terms_of_the_verdict_move_what_can_be_seen() -> None:
    usual, strict = resolve(12, 15), resolve(12, 15, confidence=0.99)
    modest = resolve(12, 15, min_gain=0.03)
    assert usual is not None
    assert strict is not None
    assert modest is not None
    assert strict.half_width > usual.half_width == modest.half_width
    assert modest.smallest_gain == pytest.approx(usual.smallest_gain + 0.02)
    mean = resolve_mean([(12, 15)], min_gain=0.03, confidence=0.99)
    assert mean is not None
    assert mean.smallest_gain == pytest.approx(strict.smallest_gain + 0.02)


def test_the_smallest_gain_is_adopted_in_80_of_100_cases() -> None:
    """Normal estimates of the variance that is assumed, with the t interval of as many degrees of freedom."""
    difference = assume_difference(12, 15, seed_sd=0.03)
    half_width, smallest = find_widths(difference, 1, min_gain=MIN_GAIN, confidence=0.95)
    rng = np.random.default_rng(0)
    estimates = smallest + difference.error * rng.normal(size=20_000)
    errors = np.sqrt(rng.chisquare(difference.freedom, 20_000) / difference.freedom)
    assert np.mean(estimates - half_width * errors > MIN_GAIN) == pytest.approx(0.8, abs=0.02)


def test_one_seed_leaves_the_sd_as_said_and_one_category_to_a_sd() -> None:
    difference = assume_difference(12, 15, seed_sd=0.01, seeds=1)
    assert sum(part.variance for part in difference.parts[1:]) == pytest.approx(2e-4)
    assert difference.parts[1].freedom == math.inf
    with pytest.raises(ValueError, match="zip"):
        resolve_mean([(12, 15)], seed_sd=[0.01, 0.02])
