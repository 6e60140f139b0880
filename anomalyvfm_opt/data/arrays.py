"""Arrays that are computed once a host, and read by all its processes through memory maps."""

import contextlib
import hashlib
import logging
import math
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from anomalyvfm_opt.data.room import ARRAY, make_room
from anomalyvfm_opt.data.sealed import DamagedArrayError, append_seal, map_sealed
from anomalyvfm_opt.durable import PART_END, publish
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.files import NotPlainError, list_own

DEFAULT_MAX_BYTES = 64 * 2**30

_ADVICE = "free space there, make it writable, or point ANOMALYVFM_OPT_HOME at another disk"
_ARRAY_END, _LOCK_END = ".npy", ".lock"
_PART_TAIL = r"\.[0-9a-f]{8}\.part"
_PART = re.compile(ARRAY.pattern + _PART_TAIL)
_log = logging.getLogger(__name__)


class ArrayStore:
    """A folder of .npy files, one a key, written once and never changed.

    An array is built under a lock, in a temporary file that is renamed into place when it is on the disk: a
    process that is killed leaves no broken array, only a temporary file, which the next builder removes.
    Every array is verified when it is opened; one whose bytes have changed since is built anew.
    Where a new array finds no room, those not asked for the longest are deleted; a process that still reads
    one keeps its pages. What lies in the folder under another name than ours, or is a link, is left alone.

    Args:
        folder: made when first written to.
        max_bytes: how much disk all arrays may take, unless a single one is larger; with 0 nothing is kept, and
            each process builds its arrays in its own memory.
    """

    def __init__(self, folder: Path, max_bytes: int = DEFAULT_MAX_BYTES, advice: str = _ADVICE) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.advice = advice

    def get(
        self, key: str, build: Callable[[np.ndarray], None], shape: tuple[int, ...], dtype: npt.DTypeLike
    ) -> np.ndarray:
        """Return the array of a key, built if it is not there; other processes that want it wait meanwhile.

        Args:
            key: everything that the content depends on.
            build: fills the array that it is given, which is all zeros.
            shape: of the array.
            dtype: of the array.

        Returns:
            Read-only: a memory map, or an array in memory where nothing is kept.

        Raises:
            EnvironmentMissingError: the folder cannot be written to, or its disk is full.
            ValueError: the key is that of an array of another shape or dtype: it says too little.
        """
        if math.prod(shape) == 0:  # there is nothing to map
            return _freeze(np.zeros(shape, dtype))
        if self.max_bytes == 0:
            blank = np.zeros(shape, dtype)
            build(blank)
            return _freeze(blank)
        path = self._locate(key)
        try:
            array = self._open(path)
        except DamagedArrayError:
            array = None  # it is named and replaced by whoever holds its lock
        if array is None:
            array = self._build(path, build, shape, dtype)
        if array.shape != shape or array.dtype != np.dtype(dtype):
            raise ValueError(
                f"{path} holds {array.dtype} {array.shape}, but {np.dtype(dtype)} {shape} was asked for"
            )
        return array

    def holds(self, key: str) -> bool:
        """Return whether the array of a key is on the disk, for a store that keeps any.

        Raises:
            EnvironmentMissingError: the folder is not for us to look into.
        """
        with self._explained():
            return self.max_bytes > 0 and self._locate(key).is_file()

    def _locate(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}{_ARRAY_END}"

    def _open(self, path: Path) -> np.ndarray | None:
        """Map a finished array, and note that it was used; None if it is not there.

        Raises:
            DamagedArrayError: its bytes are not those that were written.
        """
        with self._explained():
            try:
                array = map_sealed(path)
            except FileNotFoundError:  # never built, or deleted by another process for want of space
                return None
        with contextlib.suppress(OSError):  # a folder that is read-only by now can still be read
            os.utime(path)
        return array

    def _build(
        self, path: Path, build: Callable[[np.ndarray], None], shape: tuple[int, ...], dtype: npt.DTypeLike
    ) -> np.ndarray:
        with self._locked(path):
            array = self._open_or_remove(path)
            while array is None:
                self._make_room(math.prod(shape) * np.dtype(dtype).itemsize)
                part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART_END}")
                try:
                    with self._explained():
                        blank = _allocate(part, shape, dtype)
                    build(blank)
                    with self._explained():
                        _publish(blank, part, path)
                finally:
                    part.unlink(missing_ok=True)
                array = self._open_fresh(path)
        return array

    def _open_or_remove(self, path: Path) -> np.ndarray | None:
        """Open a finished array; one that does not hold what was written to it is named and removed."""
        try:
            return self._open(path)
        except DamagedArrayError as error:
            _log.warning("the array %s cannot be used: %s; it is made anew", path, error)
            with self._explained():
                path.unlink(missing_ok=True)
            return None

    def _open_fresh(self, path: Path) -> np.ndarray | None:
        """Open an array that was written a moment ago, under its lock."""
        try:
            return self._open(path)
        except DamagedArrayError as error:
            raise EnvironmentMissingError(
                f"the array {path} was written a moment ago, and is damaged: {error}",
                "see whether its disk is broken, or point ANOMALYVFM_OPT_HOME at another one",
            ) from None

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        with self._explained():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # product images are nobody else's
            lock = FileLock(path.with_suffix(_LOCK_END))
            lock.acquire()
        try:
            self._remove_parts(path)
            yield
        finally:
            lock.release()

    def _remove_parts(self, path: Path) -> None:
        """Remove what killed builders of this array left; whoever holds its lock is its only builder."""
        with self._explained():
            for part in list_own(self.folder, re.compile(re.escape(path.name) + _PART_TAIL)):
                part.unlink(missing_ok=True)

    def _make_room(self, needed: int) -> None:
        """Delete leftovers of killed builders, and what was unused the longest until `needed` bytes fit."""
        with self._explained():
            for part in list_own(self.folder, _PART):
                owner = self.folder / (part.name.split(".")[0] + _ARRAY_END)
                with contextlib.suppress(Timeout), FileLock(owner.with_suffix(_LOCK_END), timeout=0):
                    self._remove_parts(owner)
            make_room(self.folder, needed, self.max_bytes)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say which folder it is that the disk refuses to read or write."""
        try:
            yield
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}" if isinstance(error, NotPlainError) else error.strerror
            raise EnvironmentMissingError(
                f"cannot keep arrays in {self.folder}: {reason or error}", self.advice
            ) from None


def _allocate(part: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """Map zeros to write into, whose disk space is taken now: writing into a hole on a full disk kills us."""
    blank: np.ndarray = np.lib.format.open_memmap(part, mode="w+", dtype=np.dtype(dtype), shape=shape)
    if hasattr(os, "posix_fallocate"):
        with part.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
    return blank


def _publish(blank: np.ndarray, part: Path, path: Path) -> None:
    """Seal a filled array and put it on the disk for good, then give it its name."""
    if isinstance(blank, np.memmap):
        blank.flush()
    append_seal(part, path.name)
    publish(part, path)


def _freeze(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def open_arrays(state_folder: Path, gib: float = DEFAULT_MAX_BYTES / 2**30) -> ArrayStore:
    """Open the store of decoded images that all processes of a host share; with 0 GiB, one of this process."""
    return ArrayStore(state_folder / "cache", int(gib * 2**30))
