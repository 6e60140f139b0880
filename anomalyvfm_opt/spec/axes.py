"""What an axis of the search is, beside the values that a spec lets it have.

The table of axes is `spec.parameters.Parameters`: each of its fields carries its `Axis`. Distributions, checks,
coordinates and tables derive from it and from the fields of `spec.space.Space`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

Scale = Callable[[Sequence[Any]], Callable[[Any], float]]  # values of all trials -> (value -> place on the scale)
Coordinate = Scale | Literal["one_hot", "implied"]

ONE_HOT: Literal["one_hot"] = "one_hot"  # choices without an order: a column each, all equally far apart
IMPLIED: Literal["implied"] = "implied"  # the other axes say it: no column


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One parameter of a trial.

    Args:
        coordinate: how the regression over trials measures it: a scale, one column for each choice, or not at all
            since other axes imply it.
        searched_in: the field of `Space` that says what it may be; empty where that has its own name.
        setting: template of its part of a setting in tables, filled in with the parameters as `p`; empty: it is
            not shown there.
        heading: of that part; empty where the part says itself what it is.
        load: template of its part of what did not fit into memory, likewise.
        is_of_adapter: whether it says nothing of a trial without an adapter.
        name: of the field that carries it, which `read_axes` fills in.
    """

    coordinate: Coordinate
    searched_in: str = ""
    setting: str = ""
    heading: str = ""
    load: str = ""
    is_of_adapter: bool = False
    name: str = ""


def linear(_known: Sequence[float]) -> Callable[[float], float]:
    """Measure what acts by differences."""
    return float


def log(_known: Sequence[float]) -> Callable[[float], float]:
    """Measure what acts by factors."""
    return math.log


def log2(_known: Sequence[float]) -> Callable[[float], float]:
    """Measure what acts by doublings."""
    return math.log2


def log2_or_all(known: Sequence[int | str]) -> Callable[[int | str], float]:
    """Measure a count that may be "all": that is taken to be twice the largest number."""
    numbers = [value for value in known if isinstance(value, int)]
    everything = 2 * max(numbers, default=1)
    return lambda value: math.log2(value if isinstance(value, int) else everything)


def read_axes(table: type) -> tuple[Axis, ...]:
    """Return the axes of a dataclass, in the order of its fields.

    Raises:
        TypeError: a field carries no axis, or several.
    """
    hints = get_type_hints(table, include_extras=True)
    return tuple(_read_axis(field.name, hints[field.name]) for field in fields(table))


def _read_axis(name: str, hint: Any) -> Axis:
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    found = [extra for extra in extras if isinstance(extra, Axis)]
    if len(found) != 1:
        raise TypeError(f"the parameter {name} should carry one Axis, not {len(found)}")
    return replace(found[0], name=name, searched_in=found[0].searched_in or name)
