"""stdout is data, stderr is messages; text of any content stays on its line."""

import fcntl
import io
import logging
import os
import struct
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.cli.output import LogFormatter, cut_middle, escape, read_width, say, wrap
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


SENTENCE = "demo/brick created: 8 trials; 48 normal images to train on, 16 held out, 31 to search on, 33 locked"


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_sentence_is_wrapped_between_words(width: int) -> None:
    lines = wrap(SENTENCE, width).split("\n")
    assert len(lines) > 1
    assert max(map(len, lines)) <= width
    assert " ".join(lines) == SENTENCE


@pytest.mark.parametrize("width", [None, len(SENTENCE)])
def test_a_sentence_that_fits_or_has_no_terminal_stays_as_it_is(width: int | None) -> None:
    assert wrap(SENTENCE, width) == SENTENCE


def test_a_command_that_can_be_copied_and_a_long_word_are_never_broken() -> None:
    path = "/a/folder/whose/name/is/longer/than/the/line/is.yaml"
    command = "anomalyvfm-opt worker run demo --data DIR"
    lines = wrap(f"demo/brick: 4 trainings to do (on search data): {command}; {path}: gone", 50).split("\n")
    assert lines == ["demo/brick: 4 trainings to do (on search data):", f"{command};", f"{path}:", "gone"]


def test_the_width_is_that_of_the_terminal_and_there_is_none_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    leader, follower = os.openpty()
    with os.fdopen(leader), os.fdopen(follower, "w") as terminal:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 37, 0, 0))
        assert read_width(terminal) == 37
        monkeypatch.setenv("COLUMNS", "61")
        assert read_width(terminal) == 61
        for nonsense in ("0", "-5", "many", "²"):
            monkeypatch.setenv("COLUMNS", nonsense)
            assert read_width(terminal) == 37
        monkeypatch.delenv("COLUMNS")
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        assert read_width(terminal) is None  # nobody has set its size
    assert read_width(io.StringIO()) is None


@pytest.mark.parametrize(
    ("width", "expected"),
    [(40, SENTENCE[:13] + "…" + SENTENCE[-26:]), (1, "d"), (2, "…d"), (0, ""), (200, SENTENCE)],
)
def test_a_line_is_cut_in_its_middle(width: int, expected: str) -> None:
    assert cut_middle(SENTENCE, width) == expected
    assert len(cut_middle(SENTENCE, width)) <= width
