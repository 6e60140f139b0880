"""stdout is data, stderr is messages and progress."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import typer


def say(message: str) -> None:
    """One line for a person, on stderr."""
    typer.echo(message, err=True)


def print_json(value: dict[str, Any]) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """A table on stdout, as wide as it needs to be where stdout is not a terminal.

    Args:
        title: above the table; may be empty.
        columns: the heads.
        rows: one cell a column.
        right: indices of the columns that are aligned to the right.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # plain: a file name may hold what rich would take for markup
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
