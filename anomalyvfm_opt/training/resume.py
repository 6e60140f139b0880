"""What a retry of a trial goes on from, and what a trial is known by."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.training.checkpoint import Identity
from anomalyvfm_opt.training.state import TrainingState


@dataclass(frozen=True, kw_only=True)
class TrialInputs:
    """What a trial is a function of, on one kind of device.

    They are the name of its checkpoints: whoever runs it again finds them, and two processes that run it at the
    same time write the same.

    Args:
        spec_sha256: of the spec at the image size of the trial.
        split_sha256: of the division of the images.
        weights_sha256: of the backbone's weights.
        parameters: of the trial.
        seed: of its training.
        is_size_searched: whether its spec lets trials choose the image size.
    """

    spec_sha256: str
    split_sha256: str
    weights_sha256: str
    parameters: Parameters
    seed: int
    is_size_searched: bool

    def describe(self) -> dict[str, Any]:
        """Return all of it, as plain JSON values; an image size that is not searched is named by the spec alone.

        So it was before all parameters had one, and a trial that was interrupted then goes on.
        """
        described = asdict(self)
        if not described.pop("is_size_searched"):
            described["parameters"]["image_size_px"] = None
        return described

    @property
    def key(self) -> str:
        """The hash of the inputs, hexadecimal."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trial after an epoch.

    Args:
        state: of its training.
        values: what it has reported, by epoch.
        seconds: that it has taken.
        scoring_batch: tiles that it scored together last.
        parts: where its epochs were run: for each run that began or went on with it the epoch after which it did
            (`from_epoch`, 0 at first), and its device, versions and so on.
    """

    state: TrainingState
    values: Mapping[int, float]
    seconds: float
    scoring_batch: int
    parts: tuple[Mapping[str, Any], ...]


class TrialCheckpoints(Protocol):
    """The checkpoints of one trial; the newest is kept."""

    def load(self, detector: Detector) -> Checkpoint | None:
        """Return the checkpoint that this detector can go on from, or None: begin from the start."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint in the place of the one before."""

    def discard(self) -> None:
        """Remove it: the trial has ended."""


class Checkpoints(Protocol):
    """The checkpoints of all trials."""

    def for_trial(self, inputs: TrialInputs) -> TrialCheckpoints:
        """Return the checkpoints of one trial."""


class NoCheckpoints:
    """Every trial begins from the start, and nothing is kept."""

    def for_trial(self, _inputs: TrialInputs) -> Self:
        """Return this object, which keeps nothing of any trial."""
        return self

    def load(self, _detector: Detector) -> None:
        """Return None: a trial begins from the start."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep nothing."""

    def discard(self) -> None:
        """Do nothing: there is nothing to remove."""


def describe_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """Describe a checkpoint without its tensors, as plain JSON values.

    Epochs are texts already here: as numbers they would be sorted otherwise than after reading, from ten on.
    """
    state = checkpoint.state
    return {
        "state": {
            "identity": asdict(state.identity),
            "epoch": state.epoch,
            "steps": state.losses,
            "micro_batch": state.micro_batch,
        },
        "values": {str(epoch): value for epoch, value in checkpoint.values.items()},
        "seconds": checkpoint.seconds,
        "scoring_batch": checkpoint.scoring_batch,
        "parts": checkpoint.parts,
    }


def restore_checkpoint(record: Mapping[str, Any], tensors: bytes) -> Checkpoint:
    """Return the checkpoint that was described, with the bytes of a safetensors file.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    state = record["state"]
    _check_numbers(record, state)
    try:
        read = load(tensors)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    return Checkpoint(
        state=TrainingState(
            identity=Identity.from_json(state["identity"]),
            epoch=state["epoch"],
            losses=tuple(state["steps"]),
            micro_batch=state["micro_batch"],
            tensors=read,
        ),
        values={int(epoch): value for epoch, value in record["values"].items()},
        seconds=record["seconds"],
        scoring_batch=record["scoring_batch"],
        parts=tuple(record["parts"]),
    )


def _check_numbers(record: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """See that numbers are numbers, and such as a trial has.

    Raises:
        KeyError, TypeError, ValueError: they are not.
    """
    counts = (state["epoch"], state["micro_batch"], record["scoring_batch"])
    epochs = [int(epoch) for epoch in record["values"]]
    numbers = [record["seconds"], *state["steps"], *record["values"].values()]
    if not all(type(count) is int and count > 0 for count in counts):
        raise ValueError("a count is none")
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise ValueError("a number is none")
    if not state["steps"] or not all(0 < epoch <= state["epoch"] for epoch in epochs):
        raise ValueError("an epoch is none")
    if not all(type(part["from_epoch"]) is int for part in record["parts"]):
        raise ValueError("a part has no epoch")
