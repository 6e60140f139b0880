"""The difference of two specs, field by field."""

from collections.abc import Iterator, Mapping
from typing import Any


def list_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line for each field that differs, as `path: old -> new`.

    Args:
        old: content of the stored spec (plain JSON values).
        new: content of the spec at hand.
    """
    before, after = dict(_flatten(old)), dict(_flatten(new))
    return [
        f"{path}: {before.get(path, '(absent)')} -> {after.get(path, '(absent)')}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        path = f"{prefix}{key}"
        if isinstance(item, Mapping):
            yield from _flatten(item, f"{path}.")
        else:
            yield path, item
