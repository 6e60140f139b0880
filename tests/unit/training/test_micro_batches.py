"""Too little memory: the step is done again with fewer images at once, and nothing else changes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.errors import DoesNotFitError
from anomalyvfm_opt.evaluation.features import extract_features
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, Output, build_detector
from anomalyvfm_opt.model.memory import ShrinkingBatch
from anomalyvfm_opt.training.finetune import Schedule, TrainingSet, finetune

LORA = AdapterSettings(kind="lora", rank=4, alpha=8.0, targets="attention", adapted_blocks=2)
SCHEDULE = Schedule(
    epochs=1,
    steps_per_epoch=3,
    batch_size=12,
    learning_rate=1e-3,
    head_learning_rate=1e-3,
    warmup_steps=2,
    weight_decay=0.01,
    seed=5,
)
Trained = tuple[list[float], Tensor, Tensor]
ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
)


class _FailingBackward(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_context: Any, *_gradients: Tensor) -> Any:
        raise ERRORS[0]


@contextmanager
def small_memory(most: int, error: Exception = ERRORS[0], in_backward: bool = False) -> Iterator[list[int]]:
    """A device on which a detector fits for at most so many images at once; yields the sizes that were tried."""
    tried: list[int] = []
    forward: Callable[..., Output] = Detector.forward

    def look(detector: Detector, images: Tensor, with_heads: bool = True) -> Output:
        tried.append(len(images))
        if len(images) > most and not in_backward:
            raise error
        output = forward(detector, images, with_heads)
        if len(images) <= most or output.heads is None:
            return output
        failing = _FailingBackward.apply(output.heads.mask_logit)  # type: ignore[no-untyped-call]
        return replace(output, heads=replace(output.heads, mask_logit=failing))

    with patch.object(Detector, "forward", look):
        yield tried


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone("test_vit", "random", (-2, -1), None, 64)


@pytest.fixture(scope="module")
def images() -> TrainingSet:
    rng = np.random.default_rng(0)
    normal = rng.integers(100, 140, (12, 64, 64, 3), dtype=np.uint8)
    anomalous, masks = normal[:6].copy(), np.zeros((6, 64, 64), np.uint8)
    anomalous[:, 20:44, 20:44] = 255
    masks[:, 20:44, 20:44] = 1
    return TrainingSet(Frames(normal, np.tile((64, 64), (12, 1)), Geometry.square(64)), anomalous, masks)


@pytest.fixture(scope="module")
def whole(backbone: Backbone, images: TrainingSet) -> Trained:
    """What is learned where all images fit at once."""
    return train(backbone, images)


def train(
    backbone: Backbone,
    images: TrainingSet,
    micro_batch: ShrinkingBatch | None = None,
    settings: AdapterSettings = LORA,
) -> Trained:
    """Losses, and the scores of the first images, which are scored in batches of their own."""
    with build_detector(backbone, settings, 1, SCHEDULE.steps) as detector:
        losses = finetune(detector, images, SCHEDULE, lambda *_: None, micro_batch=micro_batch)
        scored = list(extract_features(detector, images.normal, ShrinkingBatch(8, backbone.device)).batches)
    logits = [batch.require_heads().image_logit for batch in scored]
    return list(losses.by_step), torch.cat(logits), torch.cat([batch.patches for batch in scored])


def assert_equal_up_to_rounding(one: Trained, other: Trained) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_fewer_images_at_once_give_the_same_losses_and_scores(
    backbone: Backbone, images: TrainingSet, whole: Trained, error: Exception
) -> None:
    micro_batch = ShrinkingBatch(SCHEDULE.batch_size, backbone.device)
    with small_memory(5, error) as tried:
        assert_equal_up_to_rounding(train(backbone, images, micro_batch), whole)
    assert micro_batch.size == 3
    assert tried[:3] == [12, 6, 3]
    assert tried[3:-4] == [3] * (3 * 4 - 1)  # what did not fit is not tried again in later steps
    assert tried[-4:] == [8, 4, 4, 4]  # and scoring shrinks by itself


def test_a_convolutional_network_learns_the_same_from_unequal_micro_batches(images: TrainingSet) -> None:
    """12 images in micro-batches of 5 are 5, 5 and 2: each counts by its share."""
    backbone = Backbone("tf_efficientnet_lite0", "offline", (1, 2), None, 64)
    parts = train(backbone, images, ShrinkingBatch(5, backbone.device))
    assert_equal_up_to_rounding(parts, train(backbone, images))


def test_adaloras_penalty_counts_once_a_step(backbone: Backbone, images: TrainingSet) -> None:
    settings = replace(LORA, kind="adalora")
    parts = train(backbone, images, ShrinkingBatch(4, backbone.device), settings)
    assert_equal_up_to_rounding(parts, train(backbone, images, settings=settings))


def test_dropout_drops_the_same_values_when_a_step_is_done_again(backbone: Backbone, images: TrainingSet) -> None:
    settings = replace(LORA, dropout=0.3)
    small = train(backbone, images, ShrinkingBatch(3, backbone.device), settings)
    with small_memory(3, in_backward=True):
        again = train(backbone, images, ShrinkingBatch(6, backbone.device), settings)
    assert again[0] == small[0]


def test_a_step_that_fails_in_backward_leaves_no_gradients_behind(
    backbone: Backbone, images: TrainingSet, whole: Trained
) -> None:
    micro_batch = ShrinkingBatch(SCHEDULE.batch_size, backbone.device)
    with small_memory(6, in_backward=True):
        assert_equal_up_to_rounding(train(backbone, images, micro_batch), whole)
    assert micro_batch.size == 6


def test_less_than_one_image_does_not_fit(backbone: Backbone, images: TrainingSet) -> None:
    with small_memory(0) as tried, pytest.raises(DoesNotFitError, match="one image at a time does not fit: CUDA"):
        train(backbone, images)
    assert tried == [12, 6, 3, 1]
    assert not any("lora" in name for name in backbone.network.state_dict())


def test_other_errors_are_not_taken_for_it(backbone: Backbone, images: TrainingSet) -> None:
    with small_memory(5, RuntimeError("size mismatch")) as tried, pytest.raises(RuntimeError, match="mismatch"):
        train(backbone, images)
    assert tried == [12]
