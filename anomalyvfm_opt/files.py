"""Files that others made: opened only if they are plain files, removed only if they are our own, named in UTF-8.

A reader of a named pipe waits for ever, one of a device reads without end, and opening alone can set a device off;
so what a path names is looked at before it is opened, and once more when it is open.
"""

import errno
import os
import re
import stat
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

from anomalyvfm_opt.errors import UsageError

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a pipe that came meanwhile holds nobody up


class NotPlainError(OSError):
    """A path that names a pipe, a socket or a device; `strerror` says which."""


class TooLargeError(OSError):
    """A file that is larger than what it should hold can be; `strerror` says so."""


def is_utf8(name: str) -> bool:
    """Return whether a database can keep a name: Python holds bytes of other encodings as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def name_kind(mode: int) -> str | None:
    """Return what an entry is that is neither a plain file nor a folder, such as `a socket`; None for those two.

    Args:
        mode: as `stat` gives it.
    """
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), None)


def is_current_folder_gone() -> bool:
    """Return whether the folder that this process runs in was deleted under it."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def expand_home(path: Path) -> Path:
    """Return a path whose `~` or `~user` at the beginning stands for that user's home, where it has one.

    Raises:
        UsageError: nobody of that name is known here, or this user has no home: no `HOME` and no entry in passwd.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: this host knows no home folder {path.parts[0]}", "write the path out") from None


def place_in_home(name: str) -> Path:
    """Return a path in this user's home; one that begins with `~`, where nothing is, for a user without a home."""
    try:
        return Path.home() / name
    except RuntimeError:
        return Path("~", name)


def open_plain(path: Path) -> BufferedReader:
    """Open a plain file to read its bytes; symbolic links are followed, as a file may be named by one.

    Raises:
        NotPlainError: a pipe, a socket or a device, of which nothing was read.
        IsADirectoryError: a folder.
        OSError: it is not there, or not for us to read.
    """
    _check_plain(path.stat().st_mode, path)
    descriptor = os.open(path, _FLAGS)
    try:
        _check_plain(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_plain(path: Path, most_bytes: int) -> bytes:
    """Read a plain file as a whole.

    Args:
        path: of the file.
        most_bytes: that it may have.

    Raises:
        TooLargeError: it has more, and they were not read.
        NotPlainError, OSError: like `open_plain`.
    """
    with open_plain(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise TooLargeError(errno.EFBIG, f"it is larger than {most_bytes:,} bytes", str(path))
    return content


def list_own(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """List the plain files of a folder whose whole name fits a pattern, sorted: neither links nor folders.

    Raises:
        OSError: the folder is not there, or not for us to read.
    """
    with os.scandir(folder) as entries:
        return sorted(
            folder / entry.name
            for entry in entries
            if name.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        )


def is_real_folder(path: Path) -> bool:
    """Return whether a path names a folder itself, and not a link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def remove_own(folder: Path, name: re.Pattern[str], first: str = "") -> list[str]:
    """Remove the plain files of a real folder whose whole name fits a pattern, and the folder if it is then empty.

    The folder is opened once, without following a link, and its files are removed through that descriptor: who
    puts a link in its place meanwhile leads us nowhere else.

    Args:
        folder: no link; its parents are the caller's business.
        name: of what is our own.
        first: the file that goes before the others, if it is there.

    Returns:
        The names of what was left alone, sorted; none if the folder is gone.

    Raises:
        NotADirectoryError: it is a link, or no folder.
        OSError: it is not there, or not for us to change.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with os.scandir(descriptor) as entries:
            own = {e.name: name.fullmatch(e.name) and e.is_file(follow_symlinks=False) for e in entries}
        for entry in sorted(own, key=lambda each: (each != first, each)):
            if own[entry]:
                _unlink(entry, descriptor)
    finally:
        os.close(descriptor)
    left = sorted(entry for entry, is_own in own.items() if not is_own)
    if not left:
        folder.rmdir()
    return left


def _unlink(name: str, descriptor: int) -> None:
    try:
        os.unlink(name, dir_fd=descriptor)
    except FileNotFoundError:
        return  # another process removes the same


def _check_plain(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind := name_kind(mode):
        raise NotPlainError(errno.EINVAL, f"it is {kind}, not a plain file", str(path))
