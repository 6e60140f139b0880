"""The file that carries a study, read line by line: memory and time are bounded, whoever wrote it."""

import contextlib
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from pydantic import TypeAdapter, ValidationError

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.files import NotPlainError, open_plain
from anomalyvfm_opt.spec.shown import show_value
from anomalyvfm_opt.store.transfer.file import KIND, LINE_BYTES, SCHEMA, Content, Header, StudyFile, to_line

# A line of values that are hardly there, such as [[],[],..., takes 30 times its own length in memory.
_LINE_VALUES = 2_000_000
_BYTES = 16 * 2**30  # without compression: of 80,000 trials with 5 scorers and 300 images
_PACKED_FREELY, _PACKED_RATIO = 64 * 2**20, 100  # bytes; beyond them a study is packed to a tenth, not a hundredth
_HEADER_BYTES = 2**16  # a file of another kind may have no line break at all
_GZIP_START = b"\x1f\x8b"
_HEADER = TypeAdapter(Header)


def check_file(path: Path) -> StudyFile:
    """Read a file to its end, as bytes: what its rows say is for `content.check_content`.

    Raises:
        UsageError: no such file, not a study's, damaged, too large, or of a newer format.
        EnvironmentMissingError: it cannot be read.
    """
    contents = _read_contents(path)
    last = header = next(contents)[1]
    for _, content in contents:
        last = content  # in the end the hash
    return StudyFile(path, _to_header(path, header), to_line(last))


def read_chunks(file: StudyFile) -> Iterator[tuple[int, Content]]:
    """Return the chunks of a file that `check_file` found whole, each with the number of its line.

    Raises:
        UsageError: it has changed since.
    """
    contents = _read_contents(file.path)
    next(contents)
    for number, content in contents:
        if "sha256" not in content:
            yield number, content
        elif to_line(content) != file.seal:
            raise UsageError(f"{file.path} was changed while it was read", "repeat when it is complete")


def _read_contents(path: Path) -> Iterator[tuple[int, Content]]:
    """Header, chunks and hash with their lines' numbers; what comes after a wrong byte is not given out."""
    digest = hashlib.sha256()
    with _explained(path), _open(path) as file:
        line = file.readline(_HEADER_BYTES)
        yield 1, _parse_header(path, line)
        number, size, most = 1, len(line), _limit_bytes(path, file)
        while True:
            digest.update(line)
            number, line = number + 1, file.readline(LINE_BYTES + 1)
            size += len(line)
            if not line:
                raise _damaged(path, "it ends too early")
            if len(line) > LINE_BYTES or size > most:
                what = (
                    f"line {number} is longer than {LINE_BYTES:,}" if len(line) > LINE_BYTES else f"over {most:,}"
                )
                raise UsageError(f"{path} is no study's: {what} bytes", "export the study again")
            content = _parse(line, number)
            if "sha256" in content:
                break
            yield number, content
        if content["sha256"] != digest.hexdigest() or line != to_line(content):
            raise _damaged(path, "its content does not have the hash that stands at its end")
        if file.read(1):
            raise _damaged(path, "something follows its end")
        yield number, content


def _limit_bytes(path: Path, file: gzip.GzipFile | BinaryIO) -> int:
    """Return how many bytes a file may have without compression."""
    if not isinstance(file, gzip.GzipFile):
        return _BYTES
    return min(_BYTES, max(_PACKED_FREELY, _PACKED_RATIO * path.stat().st_size))


def _parse(line: bytes, number: int) -> dict[str, Any]:
    """Raises ValueError if it is not a JSON object as an export writes one."""
    values = line.count(b",") + line.count(b"[") + line.count(b"{")
    if not line.isascii() or values > _LINE_VALUES:
        what = f"more than {_LINE_VALUES:,} values" if line.isascii() else "other characters than ASCII's"
        raise ValueError(f"line {number} has {what}")
    try:
        content = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number}: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"line {number} is not an object")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _parse_header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        content = _parse(line, 1)
    except ValueError:
        content = {}
    schema = content.get("schema")
    if content.get("kind") != KIND or type(schema) is not int or schema < 1:
        raise UsageError(f"{path} is not an exported study", "`anomalyvfm-opt study export S` makes one")
    if schema > SCHEMA:
        raise UsageError(
            f"{path} is of format {show_value(schema)}, and this program reads {SCHEMA}",
            f"use anomalyvfm-opt {show_value(content.get('program')).strip(chr(39))} or newer",
        )
    return content


def _to_header(path: Path, content: Content) -> Header:
    fields = {name: value for name, value in content.items() if name not in ("schema", "kind")}
    try:
        return _HEADER.validate_json(json.dumps(fields), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{path}:1: the header's {show_value(name)} is not as an export writes it: {first['msg']},"
            f" and it is {show_value(first['input'])}",
            "export the study again",
        ) from None


@contextmanager
def _open(path: Path) -> Iterator[gzip.GzipFile | BinaryIO]:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open_plain(path))
        is_packed = file.read(2) == _GZIP_START
        file.seek(0)
        yield stack.enter_context(gzip.GzipFile(fileobj=file)) if is_packed else file


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (IsADirectoryError, NotPlainError) as error:
        what = " is a folder" if isinstance(error, IsADirectoryError) else f": {error.strerror}"
        raise UsageError(f"{path}{what}", "name the file that `anomalyvfm-opt study export` wrote") from None
    except EOFError:
        raise _damaged(path, "it ends too early") from None
    except (gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise _damaged(path, f"{error}") from None
    except OSError as error:
        raise EnvironmentMissingError(f"cannot read {path}: {error.strerror or error}") from None


def _damaged(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path} is damaged: {reason}", "copy it once more, or export the study again")
