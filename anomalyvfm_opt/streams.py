"""The three standard streams, whatever the caller made of them: closed, full, or without a reader.

A descriptor that is closed at the start goes to the next file that is opened, such as a connection to the
database, and what is meant for stderr would be written into that. So a closed one is opened on the null device
first of all. Then stdout raises an error of ours where it cannot be written, once, and stderr drops what cannot be
written: messages are for whoever listens, and work goes on without them.
"""

import errno
import io
import os
import select
import sys
from pathlib import Path
from typing import Any, TextIO

from anomalyvfm_opt.errors import EXIT_DONE, AnomalyVFMOptError, EnvironmentMissingError

_MODES = {0: os.O_RDONLY, 1: os.O_WRONLY, 2: os.O_WRONLY}


class ReaderGoneError(AnomalyVFMOptError):
    """Whoever read our output went away, as `| head` does when it has enough; that is nobody's mistake."""

    exit_code = EXIT_DONE


def prepare_streams() -> None:
    """Have stdin, stdout and stderr usable from now on, as the module says.

    Afterwards a write to stdout raises `ReaderGoneError` where nobody reads it any more, and
    `EnvironmentMissingError` where it cannot be written otherwise, such as on a full disk.
    Streams that Python code put in the place of the process's own, as tests do, are left alone.
    """
    for number, mode in _MODES.items():
        _open_closed(number, mode)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _rewrap(sys.stdout, _Stdout)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _rewrap(sys.stderr, _Stderr)
    sys.stdin = sys.stdin or _open_null()  # Python has None where a descriptor was closed
    sys.stdout = sys.stdout or _open_null()
    sys.stderr = sys.stderr or _open_null()


class _Stdout(io.FileIO):
    """Raises an error of ours at the first write that fails; what is still buffered then is dropped."""

    _is_gone = False

    def write(self, content: Any, /) -> int:
        if self._is_gone:
            return len(content)
        try:
            return _write(self, content)
        except OSError as error:
            self._is_gone = True
            if error.errno == errno.EPIPE:
                raise ReaderGoneError("the reader of stdout went away") from None
            raise EnvironmentMissingError(
                f"cannot write to stdout: {error.strerror}", "free space where it goes, or send it elsewhere"
            ) from None


class _Stderr(io.FileIO):
    """Drops what cannot be written."""

    def write(self, content: Any, /) -> int:
        try:
            return _write(self, content)
        except OSError:
            return len(content)


def _write(raw: io.FileIO, content: Any) -> int:
    """Write bytes of which some may be left over, and wait where a pipe that does not block is full."""
    while True:
        written: int | None = io.FileIO.write(raw, content)
        if written is not None:
            return written
        select.select([], [raw], [])


def _rewrap(stream: io.TextIOWrapper, kind: type[io.FileIO]) -> TextIO:
    """Return a stream that writes to the same descriptor, through a file of this kind."""
    stream.flush()
    raw = kind(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,
    )


def _open_closed(number: int, mode: int) -> None:
    """Open the null device in the place of a standard descriptor, if that is closed."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, mode)  # it gets the lowest free number, which is this one
        os.set_inheritable(opened, True)  # as any standard stream is


def _open_null() -> TextIO:
    """Return a text stream on the null device, which stays open as long as the process lives."""
    return Path(os.devnull).open("r+", encoding="utf-8")
