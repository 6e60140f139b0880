"""Tables: whatever the width of the terminal, no number and no name is broken, and nothing is left out."""

import os
import pty
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.cli.tables import divide_columns, print_note, print_table

HEADS = ("category", "frozen", "v1.1", "best", "change", "rank / alpha / epochs", "scorer")
ROWS = [("magnetic_tile", "0.9667", "0.9917", "0.9958", "+0.0042 (noise)", "R8 / A30 / 10", "decoder")]
PATH = "/data/" + "x" * 90


def see_at(width: int, code: str) -> str:
    """What a terminal of so many columns shows of what some code prints, without colours."""
    mine, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(mine, 65536):
            shown += part
    except OSError:  # what Linux says at the end
        pass
    os.close(mine)
    assert process.wait() == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


@given(
    st.lists(st.tuples(*[st.text("ab 0.", max_size=45)] * 5), min_size=1, max_size=4),
    st.integers(20, 200),
)
def test_all_columns_are_there_once_behind_the_first(rows: list[tuple[str, ...]], width: int) -> None:
    parts = divide_columns(("one", "two", "three", "four", "five"), rows, width)
    assert all(part[0] == 0 for part in parts)
    assert [index for part in parts for index in part[1:]] == [1, 2, 3, 4]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_cell_is_broken_in_a_terminal(width: int) -> None:
    code = (
        f"from anomalyvfm_opt.cli.tables import print_table; print_table('T', {HEADS!r}, {ROWS!r}, right=(1, 2))"
    )
    shown = see_at(width, code)
    for text in (*HEADS, *ROWS[0]):
        assert text in shown
    assert max(map(len, shown.splitlines())) <= width
    assert shown.splitlines()[0] == "T"
    assert (shown.count("category") == 1) is (width == 200)


def test_text_is_wrapped_between_words_and_a_long_path_stays_whole() -> None:
    rows = [("state", "active"), ("noise", "seven words that are longer than the line " * 3), ("data", PATH)]
    short = see_at(
        60, f"from anomalyvfm_opt.cli.tables import print_table; print_table('', ('a', ''), {rows[:2]!r})"
    )
    assert max(map(len, short.splitlines())) <= 60
    assert " ".join(short.split()).count("seven words that are longer than the line") == 3
    assert PATH in see_at(
        60, f"from anomalyvfm_opt.cli.tables import print_table; print_table('', ('a', ''), {rows!r})"
    )


def test_where_no_terminal_is_a_table_is_whole_without_blanks_behind(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("T", HEADS, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines] == lines
    assert lines[1].split("  ")[0] == "category"
    assert all(text in lines[3] for text in ROWS[0])


def test_what_rich_would_take_for_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("[bold]", ("[red]a", "b"), [("[/]x", ":smile:")])
    print_note("[bold] a note")
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("[bold]", "[red]a", "[/]x", ":smile:", "[bold] a note"))


def test_a_note_is_wrapped_between_words(capsys: pytest.CaptureFixture[str]) -> None:
    print_note("word " * 60)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 100
