"""The noise floor: how far values of one set of parameters lie apart when nothing but the seed changes.

A difference smaller than it is no finding, and the best of many trials stands above their mean by luck alone.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomalyvfm_opt.evaluation.student import student_quantile

_COVERAGE = 0.95  # of the least difference
_REACH, _STEP = 40.0, 0.01  # of the integral, in SD


@dataclass(frozen=True)
class NoiseFloor:
    """Values of one set of parameters, by one scorer, under k >= 2 seeds.

    Args:
        values: AUROC, 0-1.
        step: the least distance of two different AUROC on the same images, 1 / (normal x anomalous images). Seeds
            that agree exactly are nearer to each other than that, but not without noise.
    """

    values: tuple[float, ...]
    step: float

    @property
    def mean(self) -> float:
        """Return the mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float:
        """Return the standard deviation from seed to seed, with k - 1 degrees of freedom."""
        return statistics.stdev(self.values)

    @property
    def spread(self) -> float:
        """Return the SD, but at least that of rounding to a step, step / sqrt(12)."""
        return max(self.sd, self.step / math.sqrt(12))

    @property
    def least_difference(self) -> float:
        """Return the least difference of a single trial that counts.

        One more seed of the same parameters lies no further from their mean in 95 % of cases: t of k - 1 degrees
        of freedom times the spread times sqrt(1 + 1 / k), a prediction interval of a normal value. Few seeds know
        the SD badly, and the t grows accordingly: 12.7 for two, 2.8 for five.
        """
        k = len(self.values)
        return float(student_quantile((1 + _COVERAGE) / 2, k - 1)) * self.spread * math.sqrt(1 + 1 / k)


def measure_noise(values: Sequence[float], step: float) -> NoiseFloor | None:
    """Measure the noise floor of values under different seeds; None with fewer than 2: one seed has no spread.

    Args:
        values: AUROC, 0-1.
        step: see `NoiseFloor`.
    """
    return NoiseFloor(tuple(values), step) if len(values) > 1 else None


def expected_best(trials: int) -> float:
    """Return the expected maximum of n independent standard normal variables, in SD above their mean.

    The integral of x n phi(x) Phi(x)^(n - 1) (David and Nagaraja 2003, Order Statistics), by the trapezoidal rule,
    which is exact to rounding for a smooth function that vanishes at both ends.

    Args:
        trials: n, at least 1.

    Raises:
        ValueError: without a trial there is no best one.
    """
    from scipy.special import log_ndtr

    if trials < 1:
        raise ValueError(f"the best of {trials} trials does not exist: give at least 1")
    x = np.arange(-_REACH, _REACH, _STEP)
    density = np.exp((trials - 1) * log_ndtr(x) - x**2 / 2) * trials / math.sqrt(2 * math.pi)
    return float(np.sum(x * density) * _STEP)


def expect_luck(floor: NoiseFloor, trials: int) -> float:
    """Return what the best of so many trials shows above the mean (AUROC) where no setting has any effect."""
    return floor.spread * expected_best(trials)
