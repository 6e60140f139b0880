"""What a sampler draws a trial from: the table of axes, with the values that a space lets them have."""

from dataclasses import dataclass
from typing import Any

from anomalyvfm_opt.spec.axes import Axis
from anomalyvfm_opt.spec.mix import bound_mix
from anomalyvfm_opt.spec.parameters import AXES
from anomalyvfm_opt.spec.space import FloatRange, IntRange, Space


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A closed interval of numbers, of whole ones alone where `is_whole` says so."""

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False


Dimension = tuple[Any, ...] | Interval  # choices, or an interval


def list_axes(space: Space) -> tuple[Axis, ...]:
    """Return the axes that a space says something of: all but those whose list of choices it leaves empty."""
    return tuple(axis for axis in AXES if getattr(space, axis.searched_in) != ())


def list_dimensions(space: Space) -> dict[str, Dimension]:
    """Return what is drawn, by the name that the study store knows it by and in the order in which it is drawn.

    The mix of synthetic anomalies is drawn as two numbers, `mix_u1` and `mix_u2`; a list without choices is not
    drawn, so that older studies keep what they have.
    """
    dimensions: dict[str, Dimension] = {}
    for name in dict.fromkeys(axis.searched_in for axis in list_axes(space)):
        values = getattr(space, name)
        if isinstance(values, tuple):
            dimensions[name] = values
        elif isinstance(values, FloatRange | IntRange):
            is_whole = isinstance(values, IntRange)
            dimensions[name] = Interval(low=values.low, high=values.high, is_log=values.log, is_whole=is_whole)
        else:
            for number, (low, high) in zip(("mix_u1", "mix_u2"), bound_mix(values), strict=True):
                dimensions[number] = Interval(low=low, high=high)
    return dimensions
