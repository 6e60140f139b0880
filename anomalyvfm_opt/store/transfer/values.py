"""What a column may hold, by the type that its table declares: a value of the file is right, or it is refused.

Each check raises ValueError with what the value should be.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import Enum
from functools import partial
from math import isfinite
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Float, Integer, SmallInteger, String
from sqlalchemy import Enum as EnumType
from sqlalchemy.dialects.postgresql import JSONB

Check = Callable[[Any], None]

_BITS = {SmallInteger: 15, BigInteger: 63, Integer: 31}
_DEPTH = 40  # of JSON in JSON; what the program writes has 6
_YEARS = range(1970, 3000)  # the readers' clocks know no others in every time zone


def make_check(column: "Column[Any]") -> Check:
    """Return the check of a column's values as `rows.encode_value` writes them."""
    kind = column.type
    if isinstance(kind, JSONB):
        return check_json_value
    if isinstance(kind, EnumType):
        enum = kind.enum_class
        names = (
            [member.name for member in enum] if isinstance(enum, type) and issubclass(enum, Enum) else kind.enums
        )
        return partial(check_one_of, tuple(names))
    if isinstance(kind, String):
        return partial(check_text, kind.length)
    if isinstance(kind, Integer):
        bits = next(bits for base, bits in _BITS.items() if isinstance(kind, base))
        return partial(check_whole, -(2**bits), 2**bits - 1)
    if isinstance(kind, Boolean):
        return _check_boolean
    if isinstance(kind, DateTime):
        return partial(_check_time, kind.timezone)
    if isinstance(kind, Float):
        return check_number
    raise TypeError(f"no check for the type of {column}")


def check_one_of(names: tuple[Any, ...], value: Any) -> None:
    """Refuse what is not one of some texts or numbers, by its type as well."""
    if not any(type(value) is type(name) and value == name for name in names):
        raise ValueError(f"should be {' or '.join(map(str, names))}")


def check_text(length: int | None, value: Any) -> None:
    """Refuse what PostgreSQL cannot store as text, and what is longer than `length` characters."""
    if not isinstance(value, str):
        raise ValueError("should be text")
    if length is not None and len(value) > length:
        raise ValueError(f"should be text of at most {length} characters")
    if not value.isascii() or "\0" in value:
        _check_characters(value)


def check_whole(least: int, most: int, value: Any) -> None:
    """Refuse what is not a whole number in a range, ends included."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"should be a whole number from {least} to {most}")


def check_number(value: Any, least: float = float("-inf"), most: float = float("inf")) -> None:
    """Refuse what is not a finite number in a range."""
    if type(value) not in (int, float) or not isfinite(_to_float(value)) or not least <= value <= most:
        limits = (
            ""
            if least == float("-inf")
            else f" from {least:g}" + ("" if isfinite(most) is False else f" to {most:g}")
        )
        raise ValueError(f"should be a finite number{limits}")


def check_json_value(value: Any) -> None:
    """Refuse what PostgreSQL cannot store as JSON, and what is nested too deeply for its readers."""
    for found in walk(value):
        if isinstance(found, str):
            check_text(None, found)
        elif isinstance(found, float) and not isfinite(found):
            raise ValueError("should hold finite numbers only")
        elif isinstance(found, int) and not isfinite(_to_float(found)):
            raise ValueError("should hold numbers of at most 308 digits")


def parse_json_text(value: Any) -> Any:
    """Return what a column of JSON as text says. Optuna writes NaN and Infinity there, and reads them."""
    check_text(None, value)
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("should be JSON") from None
    for _ in walk(parsed):
        pass
    return parsed


def walk(value: Any) -> Iterator[Any]:
    """Give out a value and all within it, keys as well."""
    stack = [(value, _DEPTH)]
    while stack:
        found, depth = stack.pop()
        yield found
        inner = (
            [*found, *found.values()] if isinstance(found, Mapping) else found if isinstance(found, list) else ()
        )
        if inner and not depth:
            raise ValueError(f"should be nested at most {_DEPTH} times")
        stack.extend((each, depth - 1) for each in inner)


def _check_boolean(value: Any) -> None:
    if type(value) is not bool:
        raise ValueError("should be true or false")


def _check_time(has_zone: bool, value: Any) -> None:
    zone = "with" if has_zone else "without"
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        found = None
    if found is None or found.year not in _YEARS or (found.tzinfo is not None) is not has_zone:
        raise ValueError(f"should be a time like 2026-01-02T03:04:05, {zone} a time zone")


def _check_characters(value: str) -> None:
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("should be text without NUL and without half a character")


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")
