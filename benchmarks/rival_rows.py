"""The rows of `quality.py`, one a detector and seed, and the table that is made of them."""

import json
import statistics
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
_HEAD = ("arm", "image scorer", "image AUROC", "map scorer", "AU-PRO 0.05", "seconds a seed", "seeds")


class RowFile:
    """A JSON-lines file that processes add to side by side; a line that a killed one left unfinished is no row."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Row]:
        """All rows."""
        if not self._path.exists():
            return []
        rows = []
        for number, line in enumerate(self._path.read_text().splitlines(), 1):
            try:
                rows += [json.loads(line)] if line else []
            except json.JSONDecodeError:
                print(f"{self._path}:{number} is unfinished and will be made anew", file=sys.stderr)
        return rows

    def add(self, row: Row) -> None:
        """Append one row in a single write, on a line of its own."""
        text = self._path.read_text() if self._path.exists() else ""
        start = "\n" if text and not text.endswith("\n") else ""
        with self._path.open("a") as file:
            file.write(f"{start}{json.dumps(row)}\n")


def choose_scorer(rows: Sequence[Row], metric: str, among: Collection[str] | None) -> str | None:
    """The scorer with the best mean on the search half over an arm's seeds; None where none has the metric.

    Args:
        rows: of one arm.
        metric: `image_auroc` or `au_pro_005`.
        among: the scorers to choose from; None for all.
    """
    first = rows[0]["measures"]["search"]
    scorers = [s for s in first if first[s][metric] is not None and (among is None or s in among)]
    return max(scorers, key=lambda s: statistics.mean(_values(rows, "search", s, metric)), default=None)


def describe_arm(label: str, rows: Sequence[Row], among: Collection[str] | None = None) -> tuple[str, ...]:
    """A line of the table: each metric on the lock half, by the scorer that was best on the search half."""
    if not rows:
        return (label, *[""] * (len(_HEAD) - 1))
    cells = [label]
    for metric in ("image_auroc", "au_pro_005"):
        scorer = choose_scorer(rows, metric, among)
        cells += [scorer or "-", _mean_and_sd(_values(rows, "locked", scorer, metric)) if scorer else "-"]
    seconds = statistics.mean(row["seconds"] for row in rows)
    return (*cells, f"{seconds:.1f}", str(len(rows)))


def format_table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns as wide as their cells, so that it also reads as text."""
    widths = [max(len(cell) for cell in column) for column in zip(_HEAD, *lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in (_HEAD, rule, *lines)
    )


def _values(rows: Sequence[Row], half: str, scorer: str, metric: str) -> list[float]:
    return [row["measures"][half][scorer][metric] for row in rows]


def _mean_and_sd(values: Sequence[float]) -> str:
    sd = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{sd}"
