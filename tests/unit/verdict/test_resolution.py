import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.evaluation.clustered import auroc_variance
from anomalyvfm_opt.verdict.resolution import MIN_GAIN, resolve, resolve_mean

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
