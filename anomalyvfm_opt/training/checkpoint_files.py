"""The files of checkpoints: what they are called, the record's own hash, and how what is ours is removed."""

import hashlib
import json
import logging
import os
import re
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from anomalyvfm_opt.files import is_real_folder, remove_own

RECORD = "checkpoint.json"
TENSORS = re.compile(r"epoch-\d{4,}-[0-9a-f]{8}\.safetensors")
_OWN = re.compile(rf"(?P<part>\.)?({re.escape(RECORD)}|{TENSORS.pattern})(?(part)\.[0-9a-f]{{8}}\.part)")
_FOLDER = re.compile(r"[0-9a-f]{64}")
_MOST_NAMED = 5
_log = logging.getLogger(__name__)


def seal(record: dict[str, Any]) -> bytes:
    """Give a record its own hash, as JSON; sealing what was read gives the same bytes."""
    content = {name: value for name, value in record.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, "sha256": digest}, sort_keys=True, indent=1).encode()


def sweep_folder(root: Path, kept_s: float) -> int:
    """Remove the checkpoints in a folder that nobody has written to for long; what is not ours stays.

    A checkpoint is a real folder whose name is a sha256, and our own files in it: no link is followed, neither in
    `root` nor at its place. What else lies in `root` is named in a line.

    Args:
        root: the folder of all checkpoints; it need not be there.
        kept_s: for how long nothing in a checkpoint must have been written, by the clock of its disk.

    Returns:
        How many were removed.
    """
    try:
        if not is_real_folder(root):
            if root.is_symlink():
                _log.warning("%s is a link: what is left of old trials there is not removed", root)
            return 0
        folders = sorted(root.iterdir())
        own = [path for path in folders if _FOLDER.fullmatch(path.name) and is_real_folder(path)]
        oldest = _read_clock(root) - kept_s
    except OSError as error:
        _log.warning("cannot look for what is left of old trials in %s: %s", root, error.strerror or error)
        return 0
    foreign = [path.name for path in folders if path not in own]
    removed = 0
    for folder in own:
        if _is_older(folder, oldest):
            left = remove_checkpoint(folder)
            removed += not left
            foreign += [f"{folder.name[:12]}.../{name}" for name in left]
    if foreign:
        more = len(foreign) - _MOST_NAMED
        named = ", ".join(foreign[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        _log.warning("left alone in %s, which is for checkpoints only, as not ours: %s", root, named)
    return removed


def remove_checkpoint(folder: Path) -> list[str]:
    """Remove our own files of a checkpoint, the record first, so that no reader looks for tensors that are gone.

    What the disk refuses is said.

    Returns:
        The names of what is not ours and stays, with the folder.
    """
    try:
        return remove_own(folder, _OWN, first=RECORD)
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = error.strerror or error
        _log.warning("cannot remove the checkpoint in %s: %s; it may be deleted by hand", folder, reason)
        return []


def _read_clock(root: Path) -> float:
    """Return the time by which a disk dates changes: that of this host may be years off, or jump as it starts."""
    with TemporaryFile(dir=root) as file:
        return os.fstat(file.fileno()).st_mtime


def _is_older(folder: Path, oldest: float) -> bool:
    try:
        return max(path.lstat().st_mtime for path in (folder, *folder.iterdir())) < oldest
    except OSError:
        return False  # another process has removed it, or is at it
