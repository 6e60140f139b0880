"""A table as data: whoever shows it decides how."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """Rows of text under heads; `right` are the columns that are aligned to the right."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    right: tuple[int, ...] = ()


Part = str | Grid  # a paragraph, or a table


def signed(value: float | None) -> str:
    """Return a gain with its sign, four decimals; never a negative nought."""
    return "-" if value is None else f"{round(value, 4) + 0.0:+.4f}"
