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
import time
from pathlib import Path
from typing import Any

from anomalyvfm_opt.durable import write_whole
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.training.resume import Checkpoint, TrialInputs, describe_checkpoint, restore_checkpoint
from anomalyvfm_opt.training.state import find_misfit

_log = logging.getLogger(__name__)
_KIND = "anomalyvfm-opt training state"
_SCHEMA = 1
_RECORD = "checkpoint.json"
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
        """Remove what no process has written to for 30 days: of trials that were never finished.

        Returns:
            Of how many trials.
        """
        oldest = time.time() - _KEPT_DAYS * 24 * 3600
        removed = 0
        for folder in self.root.glob("*/"):
            try:
                is_old = max(path.stat().st_mtime for path in (folder, *folder.iterdir())) < oldest
            except OSError:
                continue  # another process has removed it, or is at it
            if is_old:
                _remove_folder(folder)
                removed += 1
        return removed


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
        except (_UnusableError, OSError) as error:
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
        """Remove the trial's folder, if there is one."""
        _remove_folder(self.folder)

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
            write_whole(self.folder / _RECORD, _seal(record))
        except OSError:
            if self._find_tensors() != path:  # unless it was the very last step that failed
                path.unlink(missing_ok=True)
            raise
        if before is not None:
            before.unlink(missing_ok=True)

    def _find_tensors(self) -> Path | None:
        """Return the tensors that the JSON file names; None if it is not there, or damaged."""
        try:
            record = json.loads((self.folder / _RECORD).read_bytes())
            return self.folder / Path(record["tensors"]["file"]).name
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _read(self) -> Checkpoint | None:
        """Return the checkpoint, None if there is none.

        Raises:
            _UnusableError: it is damaged, of another trial or of another version of this program.
            OSError: it cannot be read.
        """
        for _ in range(_READS):
            try:
                record = self._parse((self.folder / _RECORD).read_bytes())
            except FileNotFoundError:
                return None
            path = self.folder / Path(record["tensors"]["file"]).name
            try:
                tensors = path.read_bytes()
            except FileNotFoundError:
                continue  # another process has put a newer one in its place
            if hashlib.sha256(tensors).hexdigest() != record["tensors"]["sha256"]:
                raise _UnusableError(f"{path.name} is damaged")
            try:
                return restore_checkpoint(record, tensors)
            except (KeyError, TypeError, ValueError):
                raise _UnusableError(f"{_RECORD} is damaged") from None
        raise _UnusableError(f"{path.name} is missing")

    def _parse(self, content: bytes) -> dict[str, Any]:
        try:
            record = json.loads(content)
            if _seal(record) != content:
                raise _UnusableError(f"{_RECORD} is damaged")
            if (record["kind"], record["schema"]) != (_KIND, _SCHEMA):
                raise _UnusableError(f"{_RECORD} is of another version of this program")
            if record["trial"] != json.loads(json.dumps(self._inputs.describe())):
                raise _UnusableError(f"{_RECORD} is of another trial")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _UnusableError(f"{_RECORD} is damaged") from None
        return dict(record)


class _UnusableError(Exception):
    """A checkpoint that is there and does not help."""


def _seal(record: dict[str, Any]) -> bytes:
    """Give a record its own hash, as JSON; sealing what was read gives the same bytes."""
    content = {name: value for name, value in record.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, "sha256": digest}, sort_keys=True, indent=1).encode()


def _remove_folder(folder: Path) -> None:
    """Remove the JSON file first, so that no reader looks for tensors that are gone."""
    try:
        for path in (folder / _RECORD, *folder.iterdir()):
            path.unlink(missing_ok=True)
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("cannot remove the checkpoint in %s: %s; it may be deleted by hand", folder, _name(error))


def _name(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
