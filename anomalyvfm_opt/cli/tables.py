"""Tables on stdout in which no number, name or path is ever broken, however narrow the terminal."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from anomalyvfm_opt.cli.output import escape, open_console, read_width, wrap
from anomalyvfm_opt.report.grid import Grid, Part

if TYPE_CHECKING:
    from rich.table import Table

_GAP = 2  # blanks between columns
_PROSE = 30  # a column with a longer cell of several words is text, which is wrapped between words
_LEAST_PROSE = 24  # that such a column is not made narrower than, if its words are not longer
_NOTE = 100  # columns of notes where stdout is no terminal


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """Print a table on stdout; in a terminal too narrow for it, in parts one below the other.

    Each part begins with the first column. Where stdout is no terminal, a table is as wide as it needs to be.

    Args:
        title: above the table; may be empty.
        columns: the heads.
        rows: one cell a column.
        right: indices of the columns that are aligned to the right.
    """
    encoding = sys.stdout.encoding
    heads = [escape(head, encoding) for head in columns]
    cells = [[escape(cell, encoding) for cell in row] for row in rows]
    console = open_console()
    if title:
        print(escape(title, encoding))
    for number, part in enumerate(divide_columns(heads, cells, console.width)):
        if number:
            print()
        table, least = _fill([[heads[i], *(row[i] for row in cells)] for i in part], [i in right for i in part])
        with console.capture() as captured:
            console.print(table, width=max(console.width, least), no_wrap=True, crop=False)
        print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_grid(grid: Grid) -> None:
    """Print a table that a room made, as by `print_table`."""
    print_table(grid.title, grid.columns, grid.rows, grid.right)


def print_parts(parts: Sequence[Part]) -> None:
    """Print tables and notes in turn; below a table that something follows stands a blank line."""
    for number, part in enumerate(parts):
        if number and isinstance(parts[number - 1], Grid):
            typer.echo()
        if isinstance(part, Grid):
            print_grid(part)
        else:
            print_note(part)


def print_note(text: str) -> None:
    """Print a note to a table, on stdout as the table is, wrapped between words."""
    print(wrap(escape(text, sys.stdout.encoding), read_width(sys.stdout) or _NOTE))


def divide_columns(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Return which columns stand beside each other in each part of a table: in order, the first one in each.

    Args:
        heads: of the columns.
        rows: one cell a column.
        width: of the terminal (characters).
    """
    needed = [_find_least_width([head, *(row[index] for row in rows)]) for index, head in enumerate(heads)]
    parts: list[list[int]] = []
    taken = 0
    for index in range(1, len(heads)):
        if parts and taken + _GAP + needed[index] <= width:
            parts[-1].append(index)
            taken += _GAP + needed[index]
        else:
            parts.append([0, index])
            taken = needed[0] + _GAP + needed[index]
    return parts or [[0]]


def _find_least_width(column: Sequence[str]) -> int:
    """Return how narrow a column can be without breaking anything; its head is the first cell."""
    from rich.cells import cell_len

    longest = max(map(cell_len, column))
    if not _is_prose(column):
        return longest
    words = max(cell_len(word) for cell in column for word in cell.split() or [""])
    return min(longest, max(words, _LEAST_PROSE))


def _is_prose(column: Sequence[str]) -> bool:
    return any(len(cell) > _PROSE and len(cell.split()) > 1 for cell in column)


def _fill(columns: Sequence[Sequence[str]], is_right: Sequence[bool]) -> "tuple[Table, int]":
    """Return a table of columns, whose heads are their first cells, and the least width that it fits into."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    widths = [_find_least_width(column) for column in columns]
    for column, width, to_the_right in zip(columns, widths, is_right, strict=True):
        table.add_column(
            Text(column[0]),  # plain: a file name may hold what rich would take for markup
            justify="right" if to_the_right else "left",
            min_width=width,
            no_wrap=not _is_prose(column),
        )
    for row in list(zip(*columns, strict=True))[1:]:
        table.add_row(*map(Text, row))
    return table, sum(widths) + _GAP * (len(widths) - 1)
