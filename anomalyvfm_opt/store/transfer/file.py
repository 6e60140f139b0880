"""The file that carries a study from one store to another.

JSON lines: a header, then some rows of one table on each line, at the end a hash of everything before it. Without
that last line, or with another hash, the file is damaged and is refused. gzip is recognised by its first bytes.
"""

import contextlib
import gzip
import hashlib
import itertools
import json
import os
import sys
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from anomalyvfm_opt.durable import written_whole
from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError

SCHEMA = 1
STDOUT = "-"
_KIND = "anomalyvfm-opt study"
_MAX_HEADER_BYTES = 2**16  # a file of another kind may have no line break at all
_GZIP_START = b"\x1f\x8b"

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    study: str
    program: str  # the version that wrote it
    our_tables: str  # the version of our tables in the store that it comes from
    optuna_tables: str
    exported_at: str  # UTC
    trials: int
    requeued: int  # those that ran meanwhile and travel as waiting


@dataclass(frozen=True)
class StudyFile:
    """A file that was read to its end and is whole."""

    path: Path
    header: Header
    seal: bytes  # its last line, with the hash


def to_lines(header: Header, chunks: Iterable[Content]) -> Iterator[bytes]:
    """Return the lines of a file; the same header and chunks give the same bytes.

    Args:
        header: the first line.
        chunks: one line each, `{"table": ..., "rows": [...]}`.
    """
    digest = hashlib.sha256()
    for content in itertools.chain([{"schema": SCHEMA, "kind": _KIND, **asdict(header)}], chunks):
        line = _to_line(content)
        digest.update(line)
        yield line
    yield _to_line({"sha256": digest.hexdigest()})


def write_file(target: str, lines: Iterable[bytes]) -> None:
    """Write lines to a file, which is there when it is complete, or to stdout.

    Args:
        target: a path, compressed if it ends in .gz; `-` for stdout.
        lines: from `to_lines`.

    Raises:
        EnvironmentMissingError: the disk is full, or the folder is not there or not writable.
    """
    try:
        if target == STDOUT:
            sys.stdout.buffer.writelines(lines)
            sys.stdout.buffer.flush()
        else:
            _publish(Path(target), lines)
    except BrokenPipeError:  # the reader of our output went away: the command line's affair
        raise
    except OSError as error:
        shown = "stdout" if target == STDOUT else target
        raise EnvironmentMissingError(
            f"cannot write {shown}: {error.strerror or error}", "free space there, or name another place by -o"
        ) from None


def check_target(target: str, *, may_replace: bool) -> None:
    """Look before anything is read whether a file may be written there.

    Raises:
        UsageError: something is there that is not to be replaced.
    """
    path = Path(target)
    if target == STDOUT or not os.path.lexists(path):
        return
    if path.is_dir():
        raise UsageError(f"{target} is a folder", "name a file in it by -o")
    if not path.is_file():
        raise UsageError(f"{target} is not a regular file", "-o - writes to stdout")
    if not may_replace:
        raise UsageError(f"{target} is there already", "replace it by --force, or name another file by -o")


def check_file(path: Path) -> StudyFile:
    """Read a file to its end.

    Raises:
        UsageError: no such file, not a study's, damaged, or of a newer format.
        EnvironmentMissingError: it cannot be read.
    """
    contents = _read_contents(path)
    fields = dict(next(contents))
    (last,) = deque(contents, maxlen=1)  # to the end, where the hash is
    del fields["schema"], fields["kind"]
    return StudyFile(path, Header(**fields), _to_line(last))


def read_chunks(path: Path) -> Iterator[Content]:
    """Return the chunks of a file that `check_file` found whole; it is checked once more on the way.

    Raises:
        UsageError: it has changed since, and is damaged.
    """
    for content in itertools.islice(_read_contents(path), 1, None):
        if "table" in content:
            yield content


def _to_line(content: Content) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{text}\n".encode("ascii")


def _publish(path: Path, lines: Iterable[bytes]) -> None:
    with written_whole(path) as file:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                packed.writelines(lines)
        else:
            file.writelines(lines)


def _read_contents(path: Path) -> Iterator[Content]:
    """Header, chunks and hash; what comes after a wrong byte is not given out."""
    digest = hashlib.sha256()
    with _explained(path), _open(path) as file:
        line = file.readline(_MAX_HEADER_BYTES)
        yield _parse_header(path, line)
        while True:
            digest.update(line)
            line = file.readline()
            if not line:
                raise _damaged(path, "it ends too early")
            content = _parse(line)
            if "sha256" in content:
                break
            yield content
        if content["sha256"] != digest.hexdigest() or line != _to_line(content):
            raise _damaged(path, "its content does not have the hash that stands at its end")
        if file.read(1):
            raise _damaged(path, "something follows its end")
        yield content


def _parse(line: bytes) -> dict[str, Any]:
    """Raises ValueError if it is not a JSON object."""
    content = json.loads(line)
    if not isinstance(content, dict):
        raise ValueError("not an object")
    return content


def _parse_header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        content = _parse(line)
    except (ValueError, RecursionError):
        content = {}
    if content.get("kind") != _KIND or not isinstance(content.get("schema"), int):
        raise UsageError(f"{path} is not an exported study", "`anomalyvfm-opt study export S` makes one")
    if content["schema"] > SCHEMA:
        raise UsageError(
            f"{path} is of format {content['schema']}, and this program reads {SCHEMA}",
            f"use anomalyvfm-opt {content.get('program')} or newer",
        )
    return content


@contextmanager
def _open(path: Path) -> Iterator[gzip.GzipFile | BufferedReader]:
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "not a regular file"
        raise UsageError(f"{path} is {what}", "name the file that `anomalyvfm-opt study export` wrote")
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        is_packed = file.peek(2).startswith(_GZIP_START)
        yield stack.enter_context(gzip.GzipFile(fileobj=file)) if is_packed else file


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except EOFError:
        raise _damaged(path, "it ends too early") from None
    except (gzip.BadGzipFile, zlib.error, ValueError, RecursionError) as error:
        raise _damaged(path, f"{error}") from None
    except OSError as error:
        raise EnvironmentMissingError(f"cannot read {path}: {error.strerror or error}") from None


def _damaged(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path} is damaged: {reason}", "copy it once more, or export the study again")
