"""Quantiles of Student's t distribution."""

from typing import Any


def student_quantile(probability: float, freedom: Any) -> Any:
    """Return the value that a t-distributed number stays below with a given probability.

    These are the numbers of `scipy.stats.t.ppf`, bit for bit, without the half second that importing `scipy.stats`
    takes.

    Args:
        probability: 0-1, both excluded.
        freedom: degrees of freedom, above 0; infinity gives the normal distribution. A float, or float64 of any
            shape.

    Returns:
        As float64, shaped as `freedom`; NaN where that is not above 0.
    """
    from scipy.special import stdtrit

    return stdtrit(freedom, probability)
