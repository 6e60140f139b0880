"""Files of what frozen blocks make of images: computed once a host, read by all its workers."""

import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.room import PREFIX_FOLDER, make_room
from anomalyvfm_opt.data.sealed import SEAL_BYTES, DamagedArrayError, Stamp, read_sealed, write_sealed
from anomalyvfm_opt.files import is_real_folder

_END, _PART_END = ".npy", ".part"
# written between two looks at how much room there is: the most that fits
_GRANTS_BYTES = (2**26, 2**22, 2**18)
FRAME_BYTES = 128 + SEAL_BYTES  # of a file beside its array: a header and a seal
_MOST_STAMPS = 2**17
_TOUCH_NS = 300 * 10**9  # how often it is noted that a file is in use; half of what counts as that
_WAIT_S = 60.0  # for another process that computes the same; then both do
_NAME = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)


class PrefixStore:
    """A folder of arrays, one a file, each named by a hash of all that it depends on.

    A file is written under another name and renamed when it is whole, so that a killed process leaves no half one
    under its name; it carries a seal that is verified when it is opened, and one that is damaged is removed and
    computed again. Nothing here stops a trial: what cannot be kept is computed each time.

    Args:
        folder: made when first written to.
        max_bytes: how much disk it and the host's decoded images may take together.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._granted = 0
        self._refused = ""
        self._kept: list[str] = []
        self._stamps: dict[str, Stamp] = {}
        self._told: set[str] = set()

    @classmethod
    def beside(cls, arrays: ArrayStore) -> "PrefixStore | None":
        """Return the store that shares a host's disk space with its arrays; None where nothing is kept."""
        return cls(arrays.folder / PREFIX_FOLDER, arrays.max_bytes) if arrays.max_bytes > 0 else None

    @property
    def is_full(self) -> bool:
        """Whether an array could not be kept since this object was made or a trial began."""
        return bool(self._refused)

    def begin(self) -> None:
        """Take it that a trial begins: there may be room by now, and what was kept before is none of its own."""
        self._refused = ""
        self._kept.clear()

    def forget(self) -> None:
        """Remove what was kept since the trial began: the network was found to have changed meanwhile."""
        for name in self._kept:
            with suppress(OSError):
                self._locate(name).unlink()
        self._kept.clear()

    def holds(self, name: str) -> bool:
        """Return whether there is a file for a name; what is in it has not been looked at."""
        with suppress(PermissionError):  # of a folder that another user made
            return self._locate(name).is_file()
        return False

    def open(self, name: str) -> np.ndarray | None:
        """Read an array and note that it was used; None if it is not there, damaged or not to be read."""
        path = self._locate(name)
        try:
            array, stamp = read_sealed(path, self._stamps.get(name))
        except FileNotFoundError:
            return None
        except DamagedArrayError as error:
            self._tell(name, f"cannot be used: {error}")
            with suppress(OSError):
                if _is_ours(path):
                    path.unlink()
            return None
        except OSError as error:
            self._tell(name, f"cannot be read: {error}")
            return None
        if len(self._stamps) >= _MOST_STAMPS:
            self._stamps.clear()
        self._stamps[name] = stamp
        with suppress(OSError):  # a folder that is read-only by now can still be read
            if path.stat().st_mtime_ns < time.time_ns() - _TOUCH_NS:
                os.utime(path)
        return array

    def keep(self, name: str, array: np.ndarray) -> None:
        """Write an array, if there is room for it; the disk's refusal is logged once, and harms nothing."""
        if self._refused:
            return
        path = self._locate(name)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_PART_END}")
        try:
            self._make_folder(path.parent)
            if not (is_real_folder(self.folder) and is_real_folder(path.parent)):
                self._refuse("it is a link, and what lies elsewhere has no bound")
            elif not _is_ours(path):
                pass  # `open` has told of it
            elif not self._take_room(array.nbytes + FRAME_BYTES):
                self._refuse("no room is left that outputs of this trial do not take")
            else:
                try:
                    write_sealed(part, array, path.name)
                    self._kept.append(name)
                    part.replace(path)  # not synced: what a power cut leaves of it, its seal finds out
                finally:
                    part.unlink(missing_ok=True)
        except OSError as error:
            self._refuse(error.strerror or str(error))

    @contextmanager
    def claimed(self, names: Collection[str]) -> Iterator[set[str]]:
        """Take those of some names that no other process is at work on, for the length of a `with`."""
        buckets: dict[str, set[str]] = {}
        for name in names:
            buckets.setdefault(name[:2], set()).add(name)
        with ExitStack() as stack:
            taken: set[str] = set()
            for bucket, members in buckets.items():
                try:
                    stack.enter_context(self._lock(bucket, timeout_s=0))
                except Timeout:
                    continue
                except OSError:
                    pass  # a disk that keeps no locks keeps no outputs either: everybody computes
                taken |= members
            yield taken

    def wait_for(self, name: str) -> bool:
        """Wait until nobody is at work on a name, or for a minute; return whether that is so."""
        try:
            with self._lock(name[:2], _WAIT_S):
                return True
        except Timeout:
            return False
        except OSError:
            return True

    def _lock(self, bucket: str, timeout_s: float) -> FileLock:
        self._make_folder(self.folder / bucket)
        return FileLock(self.folder / bucket / "lock", timeout=timeout_s)

    def _make_folder(self, bucket: Path) -> None:
        """Make a folder for files, and those that it lies in; features of product images are nobody else's."""
        for folder in (self.folder.parent, self.folder, bucket):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _locate(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no sha256")
        return self.folder / name[:2] / f"{name}{_END}"

    def _take_room(self, n_bytes: int) -> bool:
        if self._granted < n_bytes:
            self._granted = 0
            for wanted in (*(grant for grant in _GRANTS_BYTES if grant > n_bytes), n_bytes):
                if make_room(self.folder.parent, wanted, self._max_bytes, is_optional=True):
                    self._granted = wanted
                    break
            else:
                return False
        self._granted -= n_bytes
        return True

    def _tell(self, name: str, what: str) -> None:
        """Log once what is wrong with a file: it is asked for in each step."""
        if name not in self._told:
            _log.warning("the features in %s %s; they are computed again", self._locate(name), what)
        self._told.add(name)

    def _refuse(self, reason: str) -> None:
        _log.warning("features of frozen blocks are not kept in %s for now: %s", self.folder, reason)
        self._refused = reason


def _is_ours(path: Path) -> bool:
    """Return whether a path of ours is free, or names a plain file: a link, a folder or a pipe is left alone."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True
