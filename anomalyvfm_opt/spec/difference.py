"""The difference of two specs, field by field."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_ABSENT = object()
_RANGE = {"low", "high", "log"}


@dataclass(frozen=True)
class SpecDifference:
    """One field whose values differ, in plain JSON values; None where it is absent."""

    path: str
    old: Any
    new: Any
    is_in_old: bool = True
    is_in_new: bool = True

    @property
    def old_text(self) -> str:
        """The old value for people."""
        return _show(self.old) if self.is_in_old else "(absent)"

    @property
    def new_text(self) -> str:
        """The new value for people."""
        return _show(self.new) if self.is_in_new else "(absent)"

    @property
    def line(self) -> str:
        """`path: old -> new`."""
        return f"{self.path}: {self.old_text} -> {self.new_text}"


def find_differences(
    old: Mapping[str, Any], new: Mapping[str, Any], ignored: Collection[str] = ()
) -> list[SpecDifference]:
    """Return the fields that differ, in the order of the spec; a list or a range is one field.

    Args:
        old: content of one spec (plain JSON values).
        new: content of the other.
        ignored: paths of fields that may differ.
    """
    return [found for found in _compare(old, new) if found.path not in ignored]


def _compare(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[SpecDifference]:
    for key in dict.fromkeys((*old, *new)):
        path = f"{prefix}{key}"
        before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if _is_section(before) and _is_section(after):
            yield from _compare(before, after, f"{path}.")
        elif before is _ABSENT:
            yield SpecDifference(path, None, after, is_in_old=False)
        elif after is _ABSENT:
            yield SpecDifference(path, before, None, is_in_new=False)
        elif before != after:
            yield SpecDifference(path, before, after)


def _is_section(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() != _RANGE


def _show(value: Any) -> str:
    """Return a value as it is read most easily: `2 - 20 (log)`, `[2, 4, all]`, `texture 0.4, structural 0.6`."""
    if isinstance(value, Mapping) and value.keys() == _RANGE:
        return f"{_show(value['low'])} - {_show(value['high'])}{' (log)' if value['log'] else ''}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_show(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_show, value))}]"
    if value is None:
        return "none"
    return str(value)
