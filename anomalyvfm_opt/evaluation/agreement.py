"""How well one objective orders trials as another does, and what picking by it would have given."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_LEAST_FOR_INTERVAL = 5
_NORMAL_975 = 1.959963984540054  # a two-sided 95% interval


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Spearman's rho over n trials with a 95% interval; None where it cannot be had."""

    rho: float | None
    low: float | None
    high: float | None
    n: int


def correlate_ranks(one: ArrayLike, other: ArrayLike) -> RankCorrelation:
    """Spearman's rho, equal values sharing their mean rank, with the interval of Bonett and Wright (2000).

    The interval is Fisher's z with standard error sqrt((1 + rho^2 / 2) / (n - 3)) (Psychometrika 65, 23-28).
    For a perfect order z is infinite, which would leave an interval without width: there it is that of the order
    with one neighbouring pair swapped, widened to rho.

    Args:
        one: float (n,).
        other: float (n,), of the same trials.

    Returns:
        No rho if n is below 2 or one of them is constant; no interval if n is below 5.

    Raises:
        ValueError: shapes differ, or a value is NaN or infinite.
    """
    x, y = _check_pairs(one, other)
    n = len(x)
    if n < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return RankCorrelation(rho=None, low=None, high=None, n=n)
    rho = _correlate(_rank(x), _rank(y))
    if n < _LEAST_FOR_INTERVAL:
        return RankCorrelation(rho=rho, low=None, high=None, n=n)
    nearest = 1 - 12 / (n**3 - n)  # the largest rho below 1 without ties
    inside = max(-nearest, min(nearest, rho))
    half_width = _NORMAL_975 * math.sqrt((1 + inside**2 / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(inside) + sign * half_width) for sign in (-1, 1))
    return RankCorrelation(rho=rho, low=min(low, rho), high=max(high, rho), n=n)


def value_of_pick(proxy: ArrayLike, values: ArrayLike) -> float:
    """Return the value of the trial that a proxy likes best, or the mean of several that it likes alike.

    Args:
        proxy: float (n,), at least one.
        values: float (n,), of the same trials.

    Raises:
        ValueError: shapes differ, there are no trials, or a value is NaN or infinite.
    """
    x, y = _check_pairs(proxy, values)
    if len(x) == 0:
        raise ValueError("there is no trial to pick")
    return float(y[x == x.max()].mean())


def _check_pairs(one: ArrayLike, other: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"two equally long rows of values are needed, not shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a value is NaN or infinite")
    return x, y


def _rank(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, float64 (n,); equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray = (last - (counts - 1) / 2)[inverse]
    return ranks


def _correlate(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of two rows that are not constant, within -1 to 1."""
    x, y = x - x.mean(), y - y.mean()
    return max(-1.0, min(1.0, float(x @ y / math.sqrt(float(x @ x) * float(y @ y)))))
