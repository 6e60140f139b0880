"""A real export, cut down to a few trials of each of its studies: small enough to be checked a hundred times."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.transfer.content import check_content
from anomalyvfm_opt.store.transfer.file import Header, to_lines
from anomalyvfm_opt.store.transfer.reading import check_file, read_chunks
from anomalyvfm_opt.store.transfer.row_schema import SCHEMAS

EXPORT = Path(__file__).parent / "fixtures" / "earlier_store" / "export_kept_brick.jsonl.gz"
_TRIALS = 3  # of each study

Chunks = list[dict[str, Any]]


@cache
def _cut() -> tuple[Header, Chunks]:
    file = check_file(EXPORT)
    chunks: Chunks = []
    trials = 0
    for _, chunk in read_chunks(file):
        table, rows = chunk["table"], chunk["rows"]
        number = "number" if table == "trials" else "trial"
        kept = [row for row in rows if row.get(number, 0) < _TRIALS]
        if table == tables.confirmation.fullname:  # the second round is of later trials, as are further seeds
            kept = [{**row, "plan": {**row["plan"], "seeds": 1}} for row in rows if row["round"] == 1]
        trials += len(kept) if table == "trials" else 0
        if kept:
            chunks.append({"table": table, "rows": kept})
    return replace(file.header, trials=trials), chunks


def cut_export() -> tuple[Header, Chunks]:
    """The header and the chunks, which the caller may change."""
    return copy.deepcopy(_cut())


def find_rows(chunks: Chunks, table: str, section: int = 0) -> list[dict[str, Any]]:
    """The rows of the first chunk of a table that stands in a study: 0 the search, 1 and 2 its siblings."""
    seen = 0
    for chunk in chunks:
        seen += chunk["table"] == "studies"
        if seen == section and chunk["table"].endswith(table):
            rows: list[dict[str, Any]] = chunk["rows"]
            return rows
    raise AssertionError(f"no {table} in section {section}")


def write_export(path: Path, header: Header, chunks: Chunks) -> Path:
    """A file with a hash that fits."""
    path.write_bytes(b"".join(to_lines(header, chunks)))
    return path


Change = Callable[[Chunks], Any]


def put(table: str, column: str, value: Any, section: int = 0) -> Change:
    """Write a value into the first row of a table."""
    return lambda chunks: find_rows(chunks, table, section)[0].update({column: value})


def refuse(path: Path, header: Header, chunks: Chunks) -> UsageError:
    file = check_file(write_export(path, header, chunks))
    with pytest.raises(UsageError) as caught:
        check_content(file)
    assert len(str(caught.value)) < 2000
    return caught.value


_NUMBERS = [None, True, -1, 0, 2**31, 2**70, 1e308, -0.0]
_TEXTS = ["", "x", "\0", "\ud800", "NaN", "inf", "2026-01-01", "../x", "{}", "a" * 64, "dashboard:1:x"]
_ODD = st.sampled_from([*_NUMBERS, *_TEXTS, [], {}, [[]], {"a": None}])


@st.composite
def change_export(draw: st.DrawFn) -> tuple[Header, Chunks]:
    """A real export with up to three changes anywhere: a value, a column, a row, a line, the header."""
    header, chunks = cut_export()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(chunks) - 1))
        rows = chunks[place]["rows"]
        row = rows[draw(st.integers(0, len(rows) - 1))] if rows else {}
        column = draw(st.sampled_from(sorted(row) or ["x"]))
        kind = draw(st.integers(0, 8))
        if kind <= 3:
            row[column] = draw(_ODD)
        elif kind == 4:
            row.pop(column, None)
        elif kind == 5:
            rows.append(draw(st.sampled_from([dict(row), {}, {column: draw(_ODD)}])))
        elif kind == 6:
            chunks.insert(draw(st.integers(0, len(chunks))), chunks.pop(place))
        elif kind == 7:
            chunks[place]["table"] = draw(st.sampled_from([*SCHEMAS, "studies", "x"]))
        else:
            header = replace(
                header, trials=draw(st.integers(0, 99)), study=draw(st.sampled_from(["a/b", "kept/b"]))
            )
    return header, chunks
