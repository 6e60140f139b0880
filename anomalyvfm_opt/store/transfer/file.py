"""The file that carries a study from one store to another.

JSON lines: a header, then some rows of one table on each line, at the end a hash of everything before it. Without
that last line, or with another hash, the file is damaged and is refused. gzip is recognised by its first bytes.
"""

import gzip
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from anomalyvfm_opt.durable import written_whole
from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.spec.model import CategoryName, SpecName
from anomalyvfm_opt.spec.study_name import StudyName

SCHEMA = 1
STDOUT = "-"
KIND = "anomalyvfm-opt study"
LINE_BYTES = 32 * 2**20  # that a line may have; 500 rows of ours are below 10 MiB

Content = Mapping[str, Any]

_SPEC, _CATEGORY = TypeAdapter(SpecName), TypeAdapter(CategoryName)


def check_name(text: str) -> str:
    """Return the name of a study that searches.

    Raises:
        ValueError: it is none, or one that no spec could give.
    """
    name = StudyName.parse(text)
    if name.kind != "search":
        raise ValueError("a sibling travels with its study")
    _SPEC.validate_python(name.spec)
    _CATEGORY.validate_python(name.category)
    return text


def _check_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


_Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]*$", max_length=100)]


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    study: Annotated[str, AfterValidator(check_name)]
    program: _Version  # that wrote it
    our_tables: _Version  # of our tables in the store that it comes from
    optuna_tables: _Version
    exported_at: Annotated[str, AfterValidator(_check_time)]  # UTC
    trials: Annotated[int, Field(ge=0)]
    requeued: Annotated[int, Field(ge=0)]  # those that ran meanwhile and travel as waiting


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

    Raises:
        UsageError: a row is so large that no import would take it.
    """
    digest = hashlib.sha256()
    for content in itertools.chain([{"schema": SCHEMA, "kind": KIND, **asdict(header)}], chunks):
        line = to_line(content)
        if len(line) > LINE_BYTES:
            raise UsageError(
                f"a row of the table {content.get('table')} is larger than {LINE_BYTES:,} bytes",
                "an attribute that somebody set, or a note of the dashboard: delete that, then export again",
            )
        digest.update(line)
        yield line
    yield to_line({"sha256": digest.hexdigest()})


def write_file(target: str, lines: Iterable[bytes]) -> None:
    """Write lines to a file, which is there when it is complete, or to stdout.

    Args:
        target: a path, compressed if it ends in .gz; `-` for stdout.
        lines: from `to_lines`.

    Raises:
        EnvironmentMissingError: the disk is full, or the folder is not there or not writable.
    """
    if target == STDOUT:
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
        return
    try:
        _publish(Path(target), lines)
    except OSError as error:
        raise EnvironmentMissingError(
            f"cannot write {target}: {error.strerror or error}", "free space there, or name another place by -o"
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


def to_line(content: Content) -> bytes:
    """Return a header, a chunk or the hash as a line of the file.

    Raises:
        ValueError: a number that JSON has no form for.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{text}\n".encode("ascii")


def _publish(path: Path, lines: Iterable[bytes]) -> None:
    with written_whole(path) as file:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                packed.writelines(lines)
        else:
            file.writelines(lines)
