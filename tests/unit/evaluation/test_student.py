"""Quantiles of t are those of scipy.stats, which is too slow to import."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from anomalyvfm_opt.evaluation.student import student_quantile

PROBABILITIES = st.floats(0, 1, exclude_min=True, exclude_max=True)


@given(probability=PROBABILITIES, freedom=st.floats(0.01, 1e6) | st.just(math.inf) | st.integers(1, 500))
def test_it_is_scipys_bit_for_bit(probability: float, freedom: float) -> None:
    assert float(student_quantile(probability, freedom)) == float(stats.t.ppf(probability, freedom))


@given(probability=PROBABILITIES, freedom=st.lists(st.floats(0.5, 1e4), min_size=1, max_size=5))
def test_an_array_of_degrees_of_freedom_gives_an_array(probability: float, freedom: list[float]) -> None:
    degrees = np.array([*freedom, math.inf])
    assert np.array_equal(student_quantile(probability, degrees), stats.t.ppf(probability, degrees))


@pytest.mark.parametrize("freedom", range(1, 25))
def test_the_tabled_ones_are_scipys_bit_for_bit(freedom: int) -> None:
    probability = (1 + 0.95) / 2
    assert float(student_quantile(probability, freedom)) == float(stats.t.ppf(probability, freedom))


def test_a_noise_floor_of_few_seeds_needs_no_scipy() -> None:
    code = "import sys; from anomalyvfm_opt.evaluation.student import student_quantile as q; q((1 + 0.95) / 2, 4)"
    subprocess.run([sys.executable, "-c", f"{code}; sys.exit('scipy' in sys.modules)"], check=True)


def test_without_degrees_of_freedom_there_is_no_quantile() -> None:
    assert math.isnan(student_quantile(0.9, 0))
    assert math.isnan(stats.t.ppf(0.9, 0))
