"""Quantiles of Student's t distribution."""

from typing import Any

# The quantiles at 0.975 of 1, 2, ... degrees of freedom, as scipy gives them: a study's noise floor needs no more,
# and a list of studies would pay a quarter of its time for the import.
_TABLED_AT = 0.975
_TABLED = (
    12.706204736174694,
    4.302652729749462,
    3.1824463052837078,
    2.7764451051977934,
    2.5705818356363146,
    2.4469118511449786,
    2.364624251592784,
    2.306004135204166,
    2.262157162798205,
    2.228138851986274,
    2.200985160091639,
    2.1788128296672284,
    2.1603686564627913,
    2.144786687917804,
    2.131449545559776,
    2.1199052992212546,
    2.1098155778333156,
    2.1009220402410382,
    2.0930240544083087,
    2.085963447265864,
)


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
    if probability == _TABLED_AT and isinstance(freedom, int) and 1 <= freedom <= len(_TABLED):
        return _TABLED[freedom - 1]
    from scipy.special import stdtrit

    return stdtrit(freedom, probability)
