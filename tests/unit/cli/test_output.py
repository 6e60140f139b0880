"""stdout is data, stderr is messages; text of any content stays on its line."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.cli.output import LogFormatter, escape, say
from anomalyvfm_opt.cli.tables import print_table


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("plain [red] text", None, "plain [red] text"),
        ("a\nb\tc\x1b[0m", None, "a\\nb\\tc\\x1b[0m"),
        ("Gehäuse 東京 e\u0301", None, "Gehäuse 東京 e\u0301"),
        ("caf\udce9", None, "caf\\xe9"),
        ("right\u202eleft\u2028", None, "right\\u202eleft\\u2028"),
        ("lone \ud800", None, "lone \\ud800"),
        ("Gehäuse", "ascii", "Geh\\xe4use"),
    ],
)
def test_text_is_escaped_where_it_cannot_be_shown(text: str, encoding: str | None, expected: str) -> None:
    assert escape(text, encoding) == expected


@given(st.text(), st.sampled_from([None, "ascii", "latin-1", "utf-8"]))
def test_any_text_stays_on_its_line_and_can_be_written(text: str, encoding: str | None) -> None:
    shown = escape(text, encoding)
    assert shown.isprintable()
    assert shown.encode(encoding or "utf-8").decode(encoding or "utf-8") == shown


def test_what_is_logged_is_escaped_line_by_line() -> None:
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "study %s\nis \x1b[2Jodd", ("a\x07b",), None)
    assert LogFormatter().format(record) == "study a\\x07b\nis \\x1b[2Jodd"


def test_messages_go_to_stderr_and_tables_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    say("done\nnot quite")
    print_table("", ("name", "n"), [("[red]brick", "4")], right=(1,))
    out, err = capsys.readouterr()
    assert err == "done\\nnot quite\n"
    assert "[red]brick" in out
