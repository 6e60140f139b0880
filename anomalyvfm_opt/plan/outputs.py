"""What a study's frozen blocks make of its images: the disk it takes, and the seconds, once a host."""

import itertools
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from anomalyvfm_opt.model.adapter import find_first_block
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.prefix import BATCH, list_ends
from anomalyvfm_opt.model.prefix_store import FRAME_BYTES
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.synthesis.mixture import Mixture, draw

_TURNS = 3  # of which the first warms up


@dataclass(frozen=True)
class OutputCosts:
    """What is kept of an image of one size.

    Args:
        frozen: how many blocks have run where an output is kept for the frozen network.
        ends: likewise for a trial, by its targets and its adapted blocks; none where all blocks are adapted.
        image_bytes: of one image's output, by how many blocks have run.
        seconds: to compute an image's outputs once, by a trial's targets and adapted blocks.
        frozen_seconds: likewise for the frozen network.
    """

    frozen: tuple[int, ...]
    ends: Mapping[tuple[str, int | str], tuple[int, ...]]
    image_bytes: Mapping[int, int]
    seconds: Mapping[tuple[str, int | str], float]
    frozen_seconds: float

    def list_ends(self, p: Parameters) -> tuple[int, ...]:
        """List where a trial's outputs are kept: without an adapter, as for the frozen network."""
        return self.ends[p.targets, p.adapted_blocks] if p.has_adapter else self.frozen


@dataclass(frozen=True)
class OutputTotal:
    """How many images a study keeps outputs of, and what these take on disk."""

    images: int
    n_bytes: int


def measure_outputs(backbone: Backbone, choices: Collection[tuple[str, int | str]]) -> OutputCosts:
    """Measure on one batch of blank images.

    Args:
        backbone: without an adapter in it.
        choices: all targets and adapted blocks that trials may have.
    """
    frozen = list_ends(backbone, backbone.n_blocks)
    ends = {choice: list_ends(backbone, find_first_block(backbone, *choice)) for choice in choices}
    image_bytes, frozen_seconds = _time_blocks(backbone, sorted({*frozen, *itertools.chain(*ends.values())}))
    seconds = {choice: _time_blocks(backbone, each)[1] if each else 0.0 for choice, each in ends.items()}
    return OutputCosts(frozen, ends, image_bytes, seconds, frozen_seconds)


def _time_blocks(backbone: Backbone, ends: Sequence[int]) -> tuple[dict[int, int], float]:
    """Return the bytes of one image's output by how many blocks have run, and the seconds to compute it."""
    side = backbone.image_size_px
    images = torch.zeros(BATCH, side, side, 3, dtype=torch.uint8)
    taken = []
    for _ in range(_TURNS):
        started = time.perf_counter()
        with backbone.precision():
            outputs = backbone.run_blocks(backbone.normalise(images), ends)
        if backbone.device.type == "cuda":
            torch.cuda.synchronize(backbone.device)
        taken.append(time.perf_counter() - started)
    image_bytes = {end: out[0].numel() * out.element_size() + FRAME_BYTES for end, out in outputs.items()}
    return image_bytes, min(taken) / BATCH


def count_outputs(
    spec: Spec,
    costs: Mapping[int, OutputCosts],
    scored: Mapping[int, int],
    normals: int,
    trials: Sequence[Parameters],
) -> OutputTotal:
    """Count what the trials of a study leave in the store.

    Trials after the random ones go where the sampler takes them, which cannot be known: they are taken to be as
    scattered. Of locked images nothing is kept.

    Args:
        spec: of the study.
        costs: by image size.
        scored: how many different images or tiles are scored and fitted on, by image size.
        normals: how many normal images are trained on beside these; 0 for those in tiles, which are trained on in
            random squares that do not come again.
        trials: that are run, references among them, but for the frozen one.
    """
    images = n_bytes = 0
    for size, cost in costs.items():
        own = [p for p in trials if p.image_size_px == size]
        everywhere = {end for p in own for end in cost.list_ends(p)}
        frozen = {*cost.frozen, *everywhere}
        images += scored[size] + (normals if everywhere else 0)
        n_bytes += scored[size] * sum(cost.image_bytes[end] for end in frozen)
        n_bytes += normals * sum(cost.image_bytes[end] for end in everywhere)
        for kept in _mark_anomalies(spec, cost, own).values():
            images += int(np.logical_or.reduce(list(kept.values())).sum())
            n_bytes += sum(int(marks.sum()) * cost.image_bytes[end] for end, marks in kept.items())
    return OutputTotal(images, n_bytes)


def _mark_anomalies(
    spec: Spec, cost: OutputCosts, trials: Sequence[Parameters]
) -> dict[tuple[str, float, int], dict[int, np.ndarray]]:
    """Mark which anomalies of each pool trials train on, by the outputs that are kept of them."""
    high = spec.search.space.synthesis_count.high
    kept: dict[tuple[str, float, int], dict[int, np.ndarray]] = {}
    for seed, p in enumerate(trials):
        ends = cost.list_ends(p)
        size = max(high, p.synthesis_count)
        most = p.epochs * spec.training.steps_per_epoch * (spec.training.batch_size // 2)
        for kind, rows in draw(Mixture.of(p), size, seed).items():
            drawn = rows[: round(len(rows) * min(1.0, most / p.synthesis_count))]
            for end in ends:
                marks = kept.setdefault((kind, p.synthesis_intensity, size), {})
                marks.setdefault(end, np.zeros(size, dtype=bool))[drawn] = True
    return kept
