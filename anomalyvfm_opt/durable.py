"""Files that are whole or not there, whenever a process is killed or the power goes."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PART_END = ".part"
_NO_SUCH_CALL = (errno.EINVAL, errno.ENOTSUP)  # some network file systems cannot flush a folder


@contextmanager
def written_whole(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a file that takes its place when the `with` ends without an error; else nothing changes.

    It is written beside its place, under a name of its own: processes that write the same path do not meet, and
    the last one's file stays. A process that is killed leaves a file that ends with `.part`.

    Args:
        path: its place, in a folder that is there.
        mode: rights of the file, less what the process's umask takes away.

    Raises:
        OSError: it cannot be written, or the disk is full.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART_END}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        _rename(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file's content, all of it or nothing.

    Raises:
        OSError: it cannot be written, or the disk is full.
    """
    with written_whole(path) as file:
        file.write(content)


def publish(part: Path, path: Path) -> None:
    """Give a finished file its name once its content is on the disk; then the name is there for good.

    Args:
        part: the file, in the same folder.
        path: its name; a file of that name is replaced.

    Raises:
        OSError: the disk is full or broken; `part` is still there then.
    """
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    _rename(part, path)


def _rename(part: Path, path: Path) -> None:
    part.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SUCH_CALL:
            raise
    finally:
        os.close(descriptor)
