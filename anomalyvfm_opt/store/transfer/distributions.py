"""Parameters of a trial with the distributions that they were drawn from, as Optuna writes them."""

from functools import lru_cache
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    IntDistribution,
    check_distribution_compatibility,
    json_to_distribution,
)

from anomalyvfm_opt.store.optuna_private import is_contained
from anomalyvfm_opt.store.transfer.values import (
    check_json_value,
    check_number,
    check_text,
    check_whole,
    parse_json_text,
)

_LENGTH = 2**16  # characters
_FARTHEST = 2**53  # whole numbers up to here are numbers of a parameter's column as well
_MOST_NAMES = 1000


@lru_cache(maxsize=1024)
def parse_distribution(text: str) -> BaseDistribution:
    """Return a distribution.

    Raises:
        ValueError: it is none, or one that nothing could be drawn from.
    """
    check_text(_LENGTH, text)
    parsed = parse_json_text(text)
    check_json_value(parsed)
    try:
        distribution = json_to_distribution(text)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise ValueError("should be a distribution of Optuna's") from None
    if not isinstance(distribution, CategoricalDistribution):
        for number in (distribution.low, distribution.high, distribution.step):  # type: ignore[attr-defined]
            if isinstance(distribution, IntDistribution):
                check_whole(-_FARTHEST, _FARTHEST, number)
            elif number is not None:
                check_number(number)
    return distribution


class ParameterCheck:
    """The parameters of one study: each inside its distribution, and all distributions of a name of one kind."""

    def __init__(self) -> None:
        self._first: dict[str, BaseDistribution] = {}

    def check(self, name: str, value: float, text: str) -> None:
        """Refuse a parameter that Optuna could not have drawn.

        Args:
            name: of the parameter.
            value: as Optuna stores it: of a choice, its place among the choices.
            text: the distribution in JSON.

        Raises:
            ValueError: what it should be.
        """
        distribution = parse_distribution(text)
        if not _is_inside(distribution, value):
            raise ValueError("should be inside its distribution")
        first = self._first.setdefault(name, distribution)
        if len(self._first) > _MOST_NAMES:
            raise ValueError(f"should be one of at most {_MOST_NAMES} names")
        if first is not distribution:
            try:
                check_distribution_compatibility(first, distribution)
            except ValueError:
                raise ValueError("should have a distribution like that of earlier trials") from None


def _is_inside(distribution: BaseDistribution, value: float) -> bool:
    """Return whether Optuna could have drawn a value; its own test takes 0.5 for a choice."""
    try:
        outer: Any = distribution.to_external_repr(value)
        return distribution.to_internal_repr(outer) == value and is_contained(distribution, outer)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return False
