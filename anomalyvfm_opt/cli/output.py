"""stdout is data, stderr is messages and progress."""

import json
import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN_WIDTH = 200
_COMMAND = re.compile(r"anomalyvfm-opt(?: [^\s,;()`]+)+")
_GLUE = "\0"  # no text that is shown holds it


def say(message: str) -> None:
    """Write one line for a person, on stderr; a terminal has it wrapped between words."""
    typer.echo(wrap(escape(message, sys.stderr.encoding), read_width(sys.stderr)), err=True)


def wrap(text: str, width: int | None) -> str:
    """Return a text on lines of so many characters, broken between words.

    A word that is longer stays whole, and so does a command that can be copied: it would end at the line's end.

    Args:
        text: of one line.
        width: None to leave it as it is.
    """
    if width is None or len(text) <= width:
        return text
    from textwrap import fill

    glued = _COMMAND.sub(lambda found: found[0].replace(" ", _GLUE), text)
    return fill(glued, width, break_long_words=False, break_on_hyphens=False).replace(_GLUE, " ")


def cut_middle(text: str, width: int) -> str:
    """Return a text of at most so many characters, cut in its middle: its end says how far it is."""
    if len(text) <= width:
        return text
    head = max(0, (width - 1) // 3)
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}" if width > 1 else text[:width]


def read_width(stream: TextIO) -> int | None:
    """Return how many characters a line has where a stream is a terminal; None where it is none."""
    if not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None  # 0: one whose size nobody has set
    except OSError:  # a terminal that tells nothing of itself
        return None


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON document on stdout, in ASCII."""
    typer.echo(json.dumps(value, indent=2, default=str))


def open_console() -> "Console":
    """Return rich's console on stdout: as wide as its terminal, and 200 columns where it goes elsewhere.

    `FORCE_COLOR` colours it there as well, for which rich takes a pipe for a terminal: of 80 columns, where
    `COLUMNS` does not say how wide whoever shows the colours is.
    """
    from rich.console import Console

    console = Console()
    is_told = console.is_terminal and os.environ.get("COLUMNS", "").isdigit()
    return console if sys.stdout.isatty() or is_told else Console(width=_PLAIN_WIDTH)


def escape(text: str, encoding: str | None = None) -> str:
    """Return text that stays on its line and that a stream can write; the rest is written as in Python's source.

    File names may hold line breaks, control codes, and bytes that are no characters (`\\xff`).

    Args:
        text: of any content.
        encoding: of the stream; None for UTF-8.
    """
    shown = "".join(character if character.isprintable() else _escape_one(character) for character in text)
    return shown.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")


def escape_lines(text: str, encoding: str | None = None, width: int | None = None) -> str:
    """Return a text of several lines, each as by `escape` and `wrap`."""
    return "\n".join(wrap(escape(line, encoding), width) for line in text.split("\n"))


class LogFormatter(logging.Formatter):
    """Forms a message of the log for stderr: it may name what somebody wrote into the store."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message, with a traceback where it has one."""
        return escape_lines(super().format(record), sys.stderr.encoding)


def _escape_one(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is no character
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
