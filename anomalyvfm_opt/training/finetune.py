"""The training loop of one trial, readable from top to bottom."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.errors import DivergedError
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.model.memory import ShrinkingBatch
from anomalyvfm_opt.spec.model import TrainingSection
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.training.losses import anomaly_loss
from anomalyvfm_opt.training.state import TrainingState, capture_state, restore_state

_DIVERGED_FACTOR = 10.0
_PLACE_STREAM = 1  # keeps the places of squares apart from the order of images
_FULL_RATE = "full_lr"  # a parameter group's learning rate after the warm-up
_Batch = tuple[Tensor, Tensor, Tensor]  # images (b, h, w, 3), labels (b,), masks (b, h, w)


@dataclass(frozen=True)
class TrainingSet:
    """What to learn from. The anomalous images are as large as what the network sees at once."""

    normal: Frames
    anomalous: np.ndarray  # uint8 (m, tile, tile, 3)
    masks: np.ndarray  # uint8 (m, tile, tile) of 0 and 1


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast. An epoch is `steps_per_epoch` optimiser steps, whatever the number of images."""

    epochs: int
    steps_per_epoch: int
    batch_size: int  # images a step, half of them anomalous
    learning_rate: float  # of the adapter
    head_learning_rate: float
    warmup_steps: int
    weight_decay: float
    seed: int

    @classmethod
    def of(cls, training: TrainingSection, p: Parameters, seed: int) -> Self:
        """Return the schedule of a trial: what all trials of its study share, and what is its own."""
        return cls(
            epochs=p.epochs,
            steps_per_epoch=training.steps_per_epoch,
            batch_size=training.batch_size,
            learning_rate=p.learning_rate,
            head_learning_rate=training.head_learning_rate,
            warmup_steps=training.warmup_steps,
            weight_decay=training.weight_decay,
            seed=seed,
        )

    @property
    def steps(self) -> int:
        """How many optimiser steps the whole run has."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Losses:
    """The loss of each optimiser step, and its mean over each epoch."""

    by_epoch: tuple[float, ...]
    by_step: tuple[float, ...]


def finetune(
    detector: Detector,
    images: TrainingSet,
    schedule: Schedule,
    on_epoch: Callable[[int, float], None],
    on_step: Callable[[], None] = lambda: None,
    micro_batch: ShrinkingBatch | None = None,
    start: TrainingState | None = None,
    keep: Callable[[TrainingState], None] | None = None,
) -> Losses:
    """Train adapter and heads.

    The learning rate is constant after a short linear warm-up, so that epoch k of two trials compares. A run that
    goes on from a state ends with the numbers of one that was never interrupted, on the same kind of device.

    Args:
        detector: with an adapter; in eval mode afterwards.
        images: at least one normal and one anomalous image.
        schedule: how long and how fast.
        on_epoch: called after each epoch with its number (from 1) and loss; what it raises ends training.
        on_step: called before each optimiser step; what it raises ends training.
        micro_batch: how many images of a step go through the detector at once; None for all that fit.
        start: the state to go on from, of a run with an equal detector, equal images and an equal schedule.
        keep: given the state after each epoch and its `on_epoch`.

    Returns:
        The losses of all steps and epochs, those before `start` among them.

    Raises:
        DivergedError: a loss that is not finite, or an epoch ten times worse than the first.
        DoesNotFitError: one image at a time is too much for the device's memory.
    """
    micro_batch = micro_batch or ShrinkingBatch(schedule.batch_size, detector.backbone.device)
    optimizer = torch.optim.AdamW(_group_parameters(detector, schedule), weight_decay=schedule.weight_decay)
    by_step: list[float] = []
    if start is not None:
        restore_state(start, detector, optimizer)
        micro_batch.size = start.micro_batch
        by_step += start.losses
    by_epoch = _average_epochs(by_step, schedule)
    batches = _draw_batches(images, schedule, detector.backbone.device.type == "cuda", first_step=len(by_step))
    detector.train()
    for epoch in range(len(by_epoch) + 1, schedule.epochs + 1):
        for _ in range(schedule.steps_per_epoch):
            on_step()
            _set_learning_rates(optimizer, schedule, len(by_step))
            value = _accumulate_gradients(detector, optimizer, next(batches), micro_batch)
            if not math.isfinite(value):
                raise DivergedError(f"loss {value} in epoch {epoch}")
            optimizer.step()
            detector.allocation.finish_step()
            by_step.append(value)
        by_epoch = _average_epochs(by_step, schedule)
        first, latest = by_epoch[0], by_epoch[-1]
        if latest > _DIVERGED_FACTOR * max(first, 1e-3):
            raise DivergedError(f"mean loss {latest:.3g} in epoch {epoch} after {first:.3g} in the first")
        on_epoch(epoch, latest)
        if keep is not None:
            keep(capture_state(detector, optimizer, epoch, by_step, micro_batch.size))
    detector.eval()
    return Losses(tuple(by_epoch), tuple(by_step))


def _average_epochs(by_step: Sequence[float], schedule: Schedule) -> list[float]:
    """Return the mean loss of each whole epoch."""
    n = schedule.steps_per_epoch
    return [sum(by_step[first : first + n]) / n for first in range(0, len(by_step), n)]


def _set_learning_rates(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int) -> None:
    """Linear warm-up, then constant; a function of the step alone, counted from 0."""
    factor = min(1.0, (step + 1) / max(1, schedule.warmup_steps))
    for group in optimizer.param_groups:
        group["lr"] = factor * group[_FULL_RATE]


def _group_parameters(detector: Detector, schedule: Schedule) -> list[dict[str, Any]]:
    """Return the adapter's parameters by the speed at which they learn, and the heads'."""
    adapter: dict[float, list[nn.Parameter]] = {}
    for parameter in detector.adapter_parameters():
        adapter.setdefault(detector.allocation.scale_learning_rate(parameter), []).append(parameter)
    groups = [{"params": p, _FULL_RATE: factor * schedule.learning_rate} for factor, p in adapter.items()]
    return [*groups, {"params": detector.head_parameters(), _FULL_RATE: schedule.head_learning_rate}]


def _accumulate_gradients(
    detector: Detector, optimizer: torch.optim.Optimizer, batch: _Batch, micro_batch: ShrinkingBatch
) -> float:
    """Gradients of a batch's mean loss, from as many images at once as fit, and of the adapter's penalty, once.

    A micro-batch counts by its share of the images. No image sees another (BatchNorm is frozen, GroupNorm works
    on one image), so the sum is the whole batch's up to rounding; dropout alone drops other values.

    Returns:
        The mean loss, without the penalty.
    """
    n = len(batch[0])

    def accumulate(size: int) -> float:
        optimizer.zero_grad()  # of the last step, or of a try that did not fit
        total = torch.zeros((), device=detector.backbone.device)
        penalty = detector.allocation.penalty()
        for parts in zip(*(torch.split(tensor, size) for tensor in batch), strict=True):
            loss = _compute_loss(detector, *parts) * (len(parts[0]) / n)
            (loss + penalty).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            penalty = 0.0
        return total.item()

    return micro_batch.run(accumulate, detector.generators())


def _compute_loss(detector: Detector, batch: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
    output = detector(batch)
    heads = output.heads
    if heads is None:
        raise ValueError("a frozen detector cannot be trained")
    device, size = heads.mask_logit.device, heads.mask_logit.shape[1:]
    masks = F.interpolate(masks.to(device, non_blocking=True).float().unsqueeze(1), size, mode="area").squeeze(1)
    labels = labels.to(device, non_blocking=True)
    return anomaly_loss(heads, labels, masks)


def _draw_batches(
    images: TrainingSet, schedule: Schedule, is_pinned: bool, first_step: int = 0
) -> Iterator[_Batch]:
    """Endless batches: images (b, h, w, 3), labels (b,), masks (b, h, w); no image twice before all once.

    Of a normal image in tiles, each turn takes a square at another place. Of the steps before the first one that
    is asked for, the numbers of the images are drawn and nothing is read.
    """
    half = schedule.batch_size // 2
    normals, anomalies = _draw_rows(images, schedule)
    for _ in range(first_step):
        next(normals), next(anomalies)
    labels = torch.cat([torch.zeros(half), torch.ones(half)])
    if is_pinned:
        labels = labels.pin_memory()
    no_mask = np.zeros((half, *images.masks.shape[1:]), dtype=np.uint8)
    for step in itertools.count(first_step):
        i, j = next(normals), next(anomalies)
        places = np.random.default_rng((schedule.seed, _PLACE_STREAM, step))
        normal = images.normal.read_random_squares(i, places)
        batch = torch.from_numpy(np.concatenate([normal, images.anomalous[j]]))
        masks = torch.from_numpy(np.concatenate([no_mask, images.masks[j]]))
        if is_pinned:
            batch, masks = batch.pin_memory(), masks.pin_memory()
        yield batch, labels, masks


def list_drawn(images: TrainingSet, schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    """Return which normal images a run draws, and which anomalous ones: sorted int64 (n,), (m,)."""
    # drawn in turns, as a run does, for both take from one source of random numbers
    drawn = list(itertools.islice(zip(*_draw_rows(images, schedule), strict=True), schedule.steps))
    normals, anomalies = (np.unique(np.concatenate(rows)) for rows in zip(*drawn, strict=True))
    return normals, anomalies


def _draw_rows(images: TrainingSet, schedule: Schedule) -> tuple[Iterator[np.ndarray], Iterator[np.ndarray]]:
    """Endless rows of normal and of anomalous images, half a batch each, taken in turns."""
    half, rng = schedule.batch_size // 2, np.random.default_rng(schedule.seed)
    return _shuffle_forever(len(images.normal), half, rng), _shuffle_forever(len(images.anomalous), half, rng)


def _shuffle_forever(n: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    queue = np.empty(0, dtype=np.int64)
    while True:
        while len(queue) < size:
            queue = np.concatenate([queue, rng.permutation(n)])
        yield queue[:size]
        queue = queue[size:]
