"""Arrays on the disk that carry a seal: a hash of all their bytes, which is verified whenever one is opened.

A seal is what follows the .npy file's own content, 8 bytes that say so and a sha256 (32 bytes) of the file's name
and of all that comes before. numpy reads such a file as any other.
"""

import hashlib
import math
import os
from collections.abc import Callable
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from anomalyvfm_opt.files import open_plain

_MARK = b"sealed-1"
SEAL_BYTES = len(_MARK) + hashlib.sha256().digest_size
_CHUNK_BYTES = 2**20

Stamp = tuple[int, int, int]  # a file's inode, its bytes, and when anything of it was last changed (ns)


class DamagedArrayError(Exception):
    """A file that does not hold what was once written to it; the message says why."""


def append_seal(part: Path, name: str) -> None:
    """Append its seal to a finished .npy file.

    Args:
        part: the file, under the name it has while it is built.
        name: that it will have: a file under another one's name is found out as well.

    Raises:
        OSError: the disk is full or broken.
    """
    with part.open("rb") as file:
        digest = _digest(file, part.stat().st_size, name)
    with part.open("ab") as file:
        file.write(_MARK + digest)


def map_sealed(path: Path) -> np.ndarray:
    """Read a sealed file to its end, compare it with its seal, and map the same file into memory.

    Reading costs about a second a gigabyte (sha256), and leaves the file in the system's cache, where whoever uses
    the array finds it.

    Returns:
        Read-only.

    Raises:
        DamagedArrayError: it has no seal, or another one.
        FileNotFoundError: it is not there.
        OSError: it cannot be read, or is no plain file.
    """
    with open_plain(path) as file:
        content_bytes = max(file.seek(0, 2) - SEAL_BYTES, 0)
        file.seek(content_bytes)
        _check(file.read(), lambda: _digest(file, content_bytes, path.name))
        return _map(file, content_bytes)


def write_sealed(part: Path, array: np.ndarray, name: str) -> None:
    """Write an array with its seal, at once.

    Args:
        part: the file, under the name it has while it is written.
        array: that is small beside the memory.
        name: as for `append_seal`.

    Raises:
        OSError: the disk is full or broken.
    """
    buffer = BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    content = buffer.getbuffer()
    with part.open("wb") as file:
        file.write(content)
        file.write(_MARK + _hash(content, name))


def read_sealed(path: Path, known: Stamp | None = None) -> tuple[np.ndarray, Stamp]:
    """Read a sealed array into memory, and compare it with its seal unless the file is as it was last time.

    For arrays that are many and small. Each that is mapped takes one of the descriptors that a process may have,
    on most hosts 1024; and where a file is cut short, whoever reads its map is killed.

    Args:
        path: of the file.
        known: the stamp that came with it when it was last read; who writes to a file changes its stamp.

    Returns:
        The array, read-only, and its stamp.

    Raises:
        DamagedArrayError, FileNotFoundError, OSError: as for `map_sealed`.
    """
    with open_plain(path) as file:
        stamp = _stamp(file)
        content = file.read()
        is_known = known == stamp == _stamp(file)
    if not is_known:
        body = memoryview(content)[: max(len(content) - SEAL_BYTES, 0)]
        _check(content[len(body) :], lambda: _hash(body, path.name))
    shape, is_fortran, dtype, offset = _read_header(BytesIO(content), len(content) - SEAL_BYTES)
    values = np.frombuffer(content, dtype, math.prod(shape), offset)
    return values.reshape(shape, order="F" if is_fortran else "C"), stamp


def _stamp(file: BufferedReader) -> Stamp:
    state = os.fstat(file.fileno())
    return state.st_ino, state.st_size, state.st_ctime_ns


def _check(seal: bytes, digest: Callable[[], bytes]) -> None:
    """Compare the end of a file with the hash of its name and of what comes before."""
    if not seal:
        raise DamagedArrayError("it is empty")
    if not seal.startswith(_MARK) or len(seal) != SEAL_BYTES:
        raise DamagedArrayError("it has no seal: it is cut short, or of an earlier version of this program")
    if digest() != seal.removeprefix(_MARK):
        raise DamagedArrayError("its bytes are not those that were written")


def _hash(content: memoryview, name: str) -> bytes:
    digest = hashlib.sha256(name.encode() + b"\0")
    digest.update(content)
    return digest.digest()


def _digest(file: BufferedReader, n_bytes: int, name: str) -> bytes:
    """Return the hash of a name and of a file's first bytes; the file stands behind them afterwards."""
    digest, buffer = hashlib.sha256(name.encode() + b"\0"), memoryview(bytearray(_CHUNK_BYTES))
    file.seek(0)
    while n_bytes > 0:
        n_read = file.readinto(buffer[: min(n_bytes, _CHUNK_BYTES)])
        if n_read == 0:
            raise DamagedArrayError("it was cut short while it was read")
        digest.update(buffer[:n_read])
        n_bytes -= n_read
    return digest.digest()


def _map(file: BufferedReader, content_bytes: int) -> np.ndarray:
    """Map the array of a verified file, by its descriptor: its name may be another file's by now."""
    file.seek(0)
    shape, is_fortran, dtype, offset = _read_header(file, content_bytes)
    options: dict[str, Any] = {"shape": shape, "offset": offset, "order": "F" if is_fortran else "C"}
    return np.memmap(file, dtype=dtype, mode="r", **options)


def _read_header(file: BinaryIO, content_bytes: int) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, order and dtype of a .npy file from its start, and where its values begin.

    Raises:
        DamagedArrayError: what was sealed is no array; a seal is no secret, and who can write there can form one.
    """
    try:
        np.lib.format.read_magic(file)
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except (ArithmeticError, TypeError, ValueError):
        raise DamagedArrayError("it holds no array") from None
    offset = file.tell()
    if dtype.hasobject or min(shape, default=0) < 0 or offset + math.prod(shape) * dtype.itemsize != content_bytes:
        raise DamagedArrayError("it holds no array of its size")
    return shape, is_fortran, dtype, offset
