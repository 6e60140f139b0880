"""Room on the disk for what a host can make again: decoded images, and what frozen blocks make of them.

Where something new finds no room, outputs of frozen blocks go first and decoded images after them, those first
that were not asked for the longest. What lies in the folders under another name than ours, or is a link, is left
alone.
"""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from anomalyvfm_opt.files import is_real_folder, list_own

ARRAY = re.compile(r"[0-9a-f]{64}\.npy")
PREFIX_FOLDER = "prefix"  # beside the arrays
_BUCKET = re.compile(r"[0-9a-f]{2}")
_LEFTOVER = re.compile(ARRAY.pattern + r"\.[0-9a-f]{8}\.part")
_LEFTOVER_S = 3600.0  # a file that is written takes seconds
_IN_USE_S = 600.0
_RESERVED_BYTES = 2**30  # of the disk, which what is optional leaves to others


def make_room(folder: Path, needed: int, max_bytes: int, is_optional: bool = False) -> bool:
    """Delete what was not used for the longest until there is room.

    Args:
        folder: of the arrays.
        needed: bytes that are about to be written.
        max_bytes: that all may take together.
        is_optional: whether its owner can do without. Then only outputs of frozen blocks make room, those that are
            in use do not (to throw out what the next step reads helps nobody), and some of the disk stays free.

    Returns:
        Whether there is room now.

    Raises:
        OSError: the folder cannot be read.
    """
    outputs, arrays = list(_list_outputs(folder)), list(_list_states(folder, ARRAY))
    taken = sum(size for _, size, _ in [*outputs, *arrays])
    free = shutil.disk_usage(folder).free - (_RESERVED_BYTES if is_optional else 0)
    excess = max(taken + needed - max_bytes, needed - free)
    if is_optional:
        in_use_since = time.time_ns() - int(_IN_USE_S * 1e9)
        going = sorted(state for state in outputs if state[0] < in_use_since)
    else:
        going = [*sorted(outputs), *sorted(arrays)]
    for _, size, path in going:
        if excess <= 0:
            break
        try:
            path.unlink(missing_ok=True)
        except PermissionError:
            if path.parent == folder:
                raise
            continue  # another user's outputs: then something of ours goes
        excess -= size
    return excess <= 0


def measure_outputs(folder: Path) -> tuple[int, int]:
    """Return how many outputs of frozen blocks are kept beside the arrays of a folder, and their bytes."""
    sizes = [size for _, size, _ in _list_outputs(folder)]
    return len(sizes), sum(sizes)


def _list_outputs(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """List the files of the prefix store, and remove what writers that were killed left there."""
    root = folder / PREFIX_FOLDER
    if not is_real_folder(root):
        return
    with suppress(FileNotFoundError, PermissionError):  # removed while we look, or another user's
        for bucket in sorted(root.iterdir()):
            if _BUCKET.fullmatch(bucket.name) and is_real_folder(bucket):
                with suppress(FileNotFoundError, PermissionError):
                    yield from _list_states(bucket, ARRAY)
                    for changed_ns, _, path in _list_states(bucket, _LEFTOVER):
                        if changed_ns < time.time_ns() - int(_LEFTOVER_S * 1e9):
                            path.unlink(missing_ok=True)


def _list_states(folder: Path, name: re.Pattern[str]) -> Iterator[tuple[int, int, Path]]:
    """Yield when a file was last used (ns), its bytes and its path."""
    for path in list_own(folder, name):
        with suppress(FileNotFoundError):  # another process is making room as well
            state = path.stat()
            yield state.st_mtime_ns, state.st_size, path
