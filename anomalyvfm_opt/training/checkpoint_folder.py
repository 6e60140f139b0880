"""Checkpoints of running trials: after each epoch, in a folder that hosts may share, so that a retry goes on.

In a trial's folder are tensors and a small JSON file that names them with their hash. The tensors come first,
under a name of their own; then the JSON file takes its place in one step; then the tensors that it named before
are removed. Nothing else is ever removed but with the whole folder, so what the JSON file names is there, whoever
is killed and whoever writes beside us.
"""

import hashlib
import json
import logging
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anomalyvfm_opt.durable import write_whole
from anomalyvfm_opt.files import open_plain, read_plain
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.training.checkpoint_files import RECORD, TENSORS, remove_checkpoint, seal, sweep_folder
from anomalyvfm_opt.training.resume import Checkpoint, TrialInputs, describe_checkpoint, restore_checkpoint
from anomalyvfm_opt.training.state import find_misfit

_log = logging.getLogger(__name__)
_KIND = "anomalyvfm-opt training state"
_SCHEMA = 1
_MOST_RECORD_BYTES = 64 * 2**20  # some 30 a step
_READS = 5  # tries to read while another process writes
_KEPT_DAYS = 30


class CheckpointFolder:
    """Checkpoints on a disk, or on one that hosts share.

    Args:
        root: made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def for_trial(self, inputs: TrialInputs) -> "KeptCheckpoints":
        """Return the checkpoints of one trial; nothing is read or made yet."""
        return KeptCheckpoints(self.root / inputs.key, inputs)

    def sweep(self) -> int:
        """Remove our own files that no process has written to for 30 days: of trials that were never finished.

        Returns:
            Of how many trials.
        """
        return sweep_folder(self.root, _KEPT_DAYS * 24 * 3600)


class KeptCheckpoints:
    """The checkpoints of one trial on a disk. What the disk refuses never ends the trial: it is said, once.

    Args:
        folder: of this trial alone.
        inputs: of the trial.
    """

    def __init__(self, folder: Path, inputs: TrialInputs) -> None:
        self.folder = folder
        self._inputs = inputs
        self._was_refused = False

    def load(self, detector: Detector) -> Checkpoint | None:
        """Read what the trial can go on from.

        Args:
            detector: of the trial, which is not changed.

        Returns:
            None if there is nothing, or nothing that can be used; the latter is said.
        """
        try:
            found = self._read()
            if found is not None and (misfit := find_misfit(found.state, detector)):
                raise _UnusableError(misfit)
        except Exception as error:  # whatever damage makes of reading: the trial can always begin from the start
            _log.warning(
                "the checkpoint in %s cannot be used: %s; its trial begins from the start",
                self.folder,
                _name(error),
            )
            return None
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; a process that is killed meanwhile leaves the one before, or this one."""
        try:
            self._write(checkpoint)
        except OSError as error:
            if not self._was_refused:
                _log.warning(
                    "cannot write a checkpoint into %s: %s; the trial goes on, but if it is interrupted, a retry"
                    " begins from the start; free space there, make it writable, or point"
                    " ANOMALYVFM_OPT_ARTIFACTS at another disk",
                    self.folder,
                    _name(error),
                )
            self._was_refused = True

    def discard(self) -> None:
        """Remove the trial's files, and its folder if nothing else is in it."""
        if left := remove_checkpoint(self.folder):
            _log.warning("left alone in %s, as not ours: %s", self.folder, ", ".join(left))

    def _write(self, checkpoint: Checkpoint) -> None:
        from safetensors.torch import save

        tensors: bytes = save(dict(checkpoint.state.tensors))
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"epoch-{checkpoint.state.epoch:04}-{secrets.token_hex(4)}.safetensors"
        record = {
            "kind": _KIND,
            "schema": _SCHEMA,
            "trial": self._inputs.describe(),
            "tensors": {"file": path.name, "sha256": hashlib.sha256(tensors).hexdigest()},
            **describe_checkpoint(checkpoint),
        }
        write_whole(path, tensors)
        before = self._find_tensors()
        try:
            write_whole(self.folder / RECORD, seal(record))
        except OSError:
            if self._find_tensors() != path:  # unless it was the very last step that failed
                path.unlink(missing_ok=True)
            raise
        if before is not None:
            before.unlink(missing_ok=True)

    def _find_tensors(self) -> Path | None:
        """Return the tensors that the JSON file names; None if it is not there, damaged, or cannot be read."""
        try:
            return self._locate_tensors(json.loads(self._read_record()))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _read_record(self) -> bytes:
        return read_plain(self.folder / RECORD, _MOST_RECORD_BYTES)

    def _locate_tensors(self, record: Mapping[str, Any]) -> Path:
        """Return the file that a record names; only what has a name of ours is ever read or removed."""
        name = record["tensors"]["file"]
        if not TENSORS.fullmatch(name):
            raise ValueError("not a name of ours")
        return self.folder / str(name)

    def _read(self) -> Checkpoint | None:
        """Return the checkpoint, None if there is none.

        Raises:
            _UnusableError: it is damaged, of another trial or of another version of this program.
            OSError: it cannot be read.
        """
        for _ in range(_READS):
            try:
                content = self._read_record()
            except FileNotFoundError:
                return None
            with _damage_named(RECORD):
                record = self._parse(content)
                path = self._locate_tensors(record)
            try:
                tensors = _read_tensors(path, record["tensors"]["sha256"])
            except FileNotFoundError:
                continue  # another process has put a newer one in its place
            with _damage_named(RECORD):
                return restore_checkpoint(record, tensors)
        raise _UnusableError(f"{path.name} is missing")

    def _parse(self, content: bytes) -> dict[str, Any]:
        record = json.loads(content)
        if seal(record) != content:
            raise _UnusableError(f"{RECORD} is damaged")
        if (record["kind"], record["schema"]) != (_KIND, _SCHEMA):
            raise _UnusableError(f"{RECORD} is of another version of this program")
        if record["trial"] != json.loads(json.dumps(self._inputs.describe())):
            raise _UnusableError(f"{RECORD} is of another trial")
        return dict(record)


class _UnusableError(Exception):
    """A checkpoint that is there and does not help."""


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Say of which file it is that reading fails, where the words of the failure would help nobody."""
    try:
        yield
    except (ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _UnusableError(f"{name} is damaged") from None


def _read_tensors(path: Path, sha256: str) -> bytes:
    """Read a file whose hash is known; of one that has another nothing is kept in memory."""
    with open_plain(path) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise _UnusableError(f"{path.name} is damaged")
        file.seek(0)
        return file.read()


def _name(error: Exception) -> str:
    if isinstance(error, _UnusableError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"reading it fails with {type(error).__name__}: {str(error)[:200]}"
