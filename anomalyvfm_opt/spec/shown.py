"""A value as it is shown in a message: never the whole of a large one, and never at the cost of forming that."""

from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import date, time
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

_LENGTH = 60  # characters
_DEPTH = 4  # of values within values
_BITS = 200  # of a whole number that is written out: 60 digits


def show_value(value: Any, length: int = _LENGTH) -> str:
    """Return a value as Python writes it, shortened.

    Args:
        value: what was found in a file.
        length: characters that the text has at most.
    """
    text = ""
    for piece in _write(value, length, _DEPTH):
        text += piece
        if len(text) > length:
            return f"{text[: length - 3]}..."
    return text


def shorten(text: str, length: int = 200) -> str:
    """Return a message of somebody else's on one line, shortened in its middle: both ends say something."""
    flat = " ".join(text[: 100 * length].split())
    return flat if len(flat) <= length else f"{flat[: length // 2 - 2]}...{flat[1 - length // 2 :]}"


def describe_first(error: "ValidationError") -> str:
    """Return the first thing that pydantic found wrong in a stored value: what, the value, and where it stands."""
    first = error.errors(include_url=False)[0]
    place = show_value(".".join(map(str, first["loc"]))).strip("'") or "it"
    if first["type"].startswith("missing"):
        return f"{place} is missing"
    return f"{shorten(first['msg'].removeprefix('Value error, '))}, and {place} is {show_value(first['input'])}"


def _write(value: Any, length: int, depth: int) -> Iterator[str]:
    """Give out the text piece by piece, so that who asks can stop."""
    if isinstance(value, str | bytes):
        yield repr(value[: length + 1])
    elif isinstance(value, int) and value.bit_length() > _BITS:
        yield f"a whole number of about {round(value.bit_length() * 0.30103)} digits"
    elif value is None or isinstance(value, int | float | complex | date | time):
        yield repr(value)
    elif depth == 0:
        yield "..."
    elif isinstance(value, Mapping):
        yield from _join("{", value.items(), "}", length, depth)
    elif isinstance(value, Sequence | Set):
        yield from _join("[", value, "]", length, depth)
    else:
        yield f"a {type(value).__name__}"


def _join(start: str, values: Any, end: str, length: int, depth: int) -> Iterator[str]:
    yield start
    for position, value in enumerate(islice(values, length)):
        yield ", " if position else ""
        if start == "{":
            yield from _write(value[0], length, depth - 1)
            yield ": "
            yield from _write(value[1], length, depth - 1)
        else:
            yield from _write(value, length, depth - 1)
    yield end
