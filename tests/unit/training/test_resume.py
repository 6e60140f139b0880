"""Training that goes on from a state ends with the numbers of one that was never interrupted, to the last bit."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import build_detector
from anomalyvfm_opt.model.memory import ShrinkingBatch
from anomalyvfm_opt.training.checkpoint import list_trained
from anomalyvfm_opt.training.finetune import Losses, Schedule, TrainingSet, finetune
from anomalyvfm_opt.training.state import TrainingState, find_misfit
from tests.unit.training.detectors import KINDS, draw_images, plan, score

SETTINGS = AdapterSettings(
    kind="lora", rank=2, alpha=4.0, targets="attention_mlp", adapted_blocks="all", dropout=0.2
)
SCHEDULE = replace(plan(epochs=5, steps_per_epoch=3), warmup_steps=5)
IMAGES = draw_images(64)


@dataclass
class Run:
    """What came of a training: all numbers of it, and the states after its epochs."""

    losses: Losses
    scores: dict[str, np.ndarray]
    tensors: dict[str, Tensor]
    masks: dict[str, Tensor]
    states: list[TrainingState]
    reported: list[tuple[int, float]]
    micro_batch: int

    def assert_equals(self, other: "Run") -> None:
        assert self.losses == other.losses
        assert self.micro_batch == other.micro_batch
        for mine, theirs in ((self.tensors, other.tensors), (self.masks, other.masks)):
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(mine[name], theirs[name]) for name in mine)
        assert all(np.array_equal(self.scores[name], other.scores[name]) for name in other.scores)


def train(
    backbone: Backbone,
    settings: AdapterSettings,
    images: TrainingSet = IMAGES,
    schedule: Schedule = SCHEDULE,
    start: TrainingState | None = None,
    micro_batch: int = 4,
) -> Run:
    states: list[TrainingState] = []
    reported: list[tuple[int, float]] = []
    batch = ShrinkingBatch(micro_batch, backbone.device)
    with build_detector(backbone, settings, seed=1, steps=schedule.steps) as detector:

        def finish_epoch(epoch: int, loss: float) -> None:
            assert len(states) == len(reported)  # the state is kept after what is done at an epoch's end
            reported.append((epoch, loss))

        if start is not None:
            assert find_misfit(start, detector) == ""
        losses = finetune(
            detector, images, schedule, finish_epoch, micro_batch=batch, start=start, keep=states.append
        )
        tensors = {name: p.detach().clone() for name, p in list_trained(detector).items()}
        scores, masks = score(detector, IMAGES), detector.allocation.masks()
    return Run(losses, scores, tensors, masks, states, reported, batch.size)


@pytest.mark.parametrize(("kind", "dropout"), [*((kind, 0.2) for kind in KINDS), ("lora", 0.0)])
def test_a_run_that_goes_on_ends_as_if_it_had_never_stopped(backbone: Backbone, kind: str, dropout: float) -> None:
    settings = replace(SETTINGS, kind=kind, dropout=dropout)
    whole = train(backbone, settings)
    assert len(whole.states) == SCHEDULE.epochs
    for epoch in (1, 3, 4) if kind == "adalora" else (3,):  # the others have no schedule of their own
        resumed = train(backbone, settings, start=whole.states[epoch - 1])
        resumed.assert_equals(whole)
        assert resumed.reported == whole.reported[epoch:]
        for mine, theirs in zip(resumed.states, whole.states[epoch:], strict=True):
            assert mine.losses == theirs.losses
            assert mine.tensors.keys() == theirs.tensors.keys()
            assert all(torch.equal(mine.tensors[name], theirs.tensors[name]) for name in theirs.tensors)


def test_adalora_prunes_before_and_after_the_interruption(vit: Backbone) -> None:
    """The states that the test above goes on from stand at every part of AdaLoRA's schedule."""
    states = train(vit, replace(SETTINGS, kind="adalora")).states
    ranks = [
        sum(int(t.sum()) for name, t in state.tensors.items() if name.startswith("allocation.mask."))
        for state in states
    ]
    weighed = [any(name.startswith("allocation.exp_avg_ipt.") for name in state.tensors) for state in states]
    layers = sum(name.startswith("allocation.mask.") for name in states[-1].tensors)
    assert ranks[0] > ranks[2] == ranks[-1] == 2 * layers
    assert weighed == [True, True, False, False, False]


def test_a_run_that_is_interrupted_again_and_again_ends_the_same(vit: Backbone) -> None:
    settings = replace(SETTINGS, kind="adalora")
    whole = train(vit, settings)
    start = None
    for _ in range(SCHEDULE.epochs):
        start = train(vit, settings, start=start).states[0]
    last = train(vit, settings, start=start)
    last.assert_equals(whole)
    assert (last.states, last.reported) == ([], [])


def test_squares_of_tiled_images_lie_where_they_would_have_lain(vit: Backbone) -> None:
    pixels = np.random.default_rng(3).integers(0, 255, (7, 64, 192, 3), dtype=np.uint8)
    content = np.array([[64, 192], [64, 150], [64, 64], [64, 100], [64, 192], [64, 70], [64, 192]])
    frames = Frames(pixels, content, Geometry((64, 192), 64, 64))
    assert frames.geometry.is_tiled
    images = replace(IMAGES, normal=frames)
    whole = train(vit, SETTINGS, images)
    train(vit, SETTINGS, images, start=whole.states[1]).assert_equals(whole)


@pytest.mark.parametrize("kind", ["lora", "adalora"])
def test_micro_batches_go_on_at_the_size_that_they_had(vit: Backbone, kind: str) -> None:
    settings = replace(SETTINGS, kind=kind)
    small = train(vit, settings, micro_batch=3)
    resumed = train(vit, settings, start=small.states[1], micro_batch=4)
    resumed.assert_equals(small)
    assert resumed.micro_batch == 3


def test_no_image_is_read_of_the_steps_that_are_done(vit: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(vit, SETTINGS)
    reads: list[int] = []
    read = Frames.read_random_squares

    def count(frames: Frames, indices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        reads.append(len(indices))
        return read(frames, indices, rng)

    monkeypatch.setattr(Frames, "read_random_squares", count)
    train(vit, SETTINGS, start=whole.states[3])
    assert reads == [2] * SCHEDULE.steps_per_epoch


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rank": 4}, "another detector"),
        ({"dropout": 0.0}, "another detector"),
        ({"kind": "dora"}, "another detector"),
    ],
)
def test_another_detector_cannot_go_on(vit: Backbone, change: dict[str, Any], words: str) -> None:
    state = train(vit, SETTINGS, schedule=replace(SCHEDULE, epochs=1)).states[0]
    with build_detector(vit, replace(SETTINGS, **change), seed=1, steps=3) as other:
        assert words in find_misfit(state, other)


def test_tensors_that_are_missing_or_too_large_are_a_misfit(vit: Backbone) -> None:
    state = train(vit, SETTINGS, schedule=replace(SCHEDULE, epochs=1)).states[0]
    name = "trained.predictor.linear.bias"
    without = {key: t for key, t in state.tensors.items() if key not in (name, "generator.0")}
    with build_detector(vit, SETTINGS, seed=1, steps=3) as detector:
        assert find_misfit(state, detector) == ""
        assert "predictor.linear.bias has another shape" in find_misfit(replace(state, tensors=without), detector)
        larger = replace(state, tensors={**without, name: torch.zeros(2), "generator.0": torch.zeros(1)})
        assert "predictor.linear.bias has another shape" in find_misfit(larger, detector)
        undrawn = replace(state, tensors={**without, name: state.tensors[name]})
        assert "dropout" in find_misfit(undrawn, detector)


def test_dropout_of_another_kind_of_device_begins_anew_the_same_each_time(vit: Backbone) -> None:
    state = train(vit, SETTINGS).states[1]
    from_gpu = replace(state, tensors={**state.tensors, "generator.0": torch.zeros(16, dtype=torch.uint8)})
    one, other = (train(vit, SETTINGS, start=from_gpu) for _ in range(2))
    one.assert_equals(other)
    assert one.losses.by_step[:6] == state.losses
    assert one.losses.by_step != train(vit, SETTINGS, start=state).losses.by_step
