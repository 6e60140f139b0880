from dataclasses import replace

import numpy as np
import pytest
import torch

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.errors import DivergedError
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import build_detector
from anomalyvfm_opt.model.heads import HeadOutput
from anomalyvfm_opt.training.finetune import Schedule, TrainingSet, finetune
from anomalyvfm_opt.training.losses import anomaly_loss, focal_loss

LORA = AdapterSettings(kind="lora", rank=4, alpha=8.0, targets="attention", adapted_blocks=2)
SCHEDULE = Schedule(
    epochs=3,
    steps_per_epoch=4,
    batch_size=8,
    learning_rate=1e-3,
    head_learning_rate=1e-3,
    warmup_steps=2,
    weight_decay=0.01,
    seed=5,
)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone("tf_efficientnet_lite0", "offline", (1, 2), None, 64)


@pytest.fixture(scope="module")
def images() -> TrainingSet:
    rng = np.random.default_rng(0)
    normal = rng.integers(100, 140, (12, 64, 64, 3), dtype=np.uint8)
    anomalous, masks = normal[:6].copy(), np.zeros((6, 64, 64), np.uint8)
    anomalous[:, 20:44, 20:44] = 255
    masks[:, 20:44, 20:44] = 1
    return TrainingSet(make_frames(normal), anomalous, masks)


def make_frames(pixels: np.ndarray, tile_px: int | None = None) -> Frames:
    height, width = pixels.shape[1:3]
    tile_px = tile_px or height
    return Frames(pixels, np.tile((height, width), (len(pixels), 1)), Geometry((height, width), tile_px, tile_px))


def train(backbone: Backbone, images: TrainingSet, schedule: Schedule) -> tuple[tuple[float, ...], torch.Tensor]:
    with build_detector(backbone, LORA, seed=1) as detector:
        losses = finetune(detector, images, schedule, lambda *_: None)
        with torch.no_grad():
            output = detector(torch.from_numpy(images.anomalous))
        assert output.heads is not None
        assert np.array(losses.by_step).reshape(schedule.epochs, -1).mean(axis=1) == pytest.approx(losses.by_epoch)
        return losses.by_epoch, output.heads.mask_logit


def test_an_easy_task_is_learned(backbone: Backbone, images: TrainingSet) -> None:
    losses, mask_logit = train(backbone, images, replace(SCHEDULE, epochs=6))
    assert len(losses) == 6
    assert losses[-1] < losses[0] / 2
    side = mask_logit.shape[1]
    inside = mask_logit[:, side * 3 // 8 : side * 5 // 8, side * 3 // 8 : side * 5 // 8].mean()
    assert inside > mask_logit[:, :2].mean()


def test_an_epoch_is_a_number_of_steps_whatever_the_number_of_images(
    backbone: Backbone, images: TrainingSet
) -> None:
    steps, epochs = [], []
    few = TrainingSet(images.normal, images.anomalous[:1], images.masks[:1])
    with build_detector(backbone, LORA, seed=1) as detector:
        finetune(
            detector,
            few,
            SCHEDULE,
            on_epoch=lambda epoch, _: epochs.append((epoch, len(steps))),
            on_step=lambda: steps.append(1),
        )
    assert epochs == [(1, 4), (2, 8), (3, 12)]


def test_tiled_frames_are_learned_from_in_squares(backbone: Backbone, images: TrainingSet) -> None:
    """The same task on frames of two tiles: normal squares come from anywhere, and their loss is as low."""
    wide = np.concatenate([images.normal.pixels, images.normal.pixels[::-1]], axis=2)
    tiled = TrainingSet(make_frames(wide, tile_px=64), images.anomalous, images.masks)
    assert tiled.normal.geometry.is_tiled
    losses, _ = train(backbone, tiled, replace(SCHEDULE, epochs=6))
    assert losses[-1] < losses[0] / 2
    assert losses == train(backbone, tiled, replace(SCHEDULE, epochs=6))[0]


def test_epoch_k_does_not_depend_on_how_many_follow(backbone: Backbone, images: TrainingSet) -> None:
    assert train(backbone, images, SCHEDULE)[0] == train(backbone, images, replace(SCHEDULE, epochs=5))[0][:3]


def test_running_away_is_reported(backbone: Backbone, images: TrainingSet) -> None:
    with pytest.raises(DivergedError, match="loss"):
        train(backbone, images, replace(SCHEDULE, epochs=8, learning_rate=1e6, head_learning_rate=1e4))


def test_an_epoch_callback_can_stop_training(backbone: Backbone, images: TrainingSet) -> None:
    def stop(_epoch: int, _loss: float) -> None:
        raise KeyboardInterrupt

    with build_detector(backbone, LORA, seed=1) as detector, pytest.raises(KeyboardInterrupt):
        finetune(detector, images, SCHEDULE, stop)
    assert not any("lora" in name for name in backbone.network.state_dict())


def test_focal_loss_is_cross_entropy_scaled_by_how_wrong_it_is() -> None:
    logits, targets = torch.tensor([0.0, 2.0, -3.0]), torch.tensor([1.0, 1.0, 1.0])
    p = logits.sigmoid()
    torch.testing.assert_close(focal_loss(logits, targets), -((1 - p) ** 2) * p.log())


def test_anomaly_loss_matches_its_formula() -> None:
    image, mask, confidence = torch.tensor([0.3]), torch.tensor([[[4.0, -1.0]]]), torch.tensor([[[0.2, -0.5]]])
    labels, target = torch.tensor([1.0]), torch.tensor([[[1.0, 0.0]]])
    c = 1 + confidence.exp()
    distance = (mask.sigmoid().clamp(0.1, 0.9) - target).abs()
    expected = (
        focal_loss(image, labels).mean() + (c * (5 * focal_loss(mask, target) + distance) - 0.1 * c.log()).mean()
    )
    torch.testing.assert_close(anomaly_loss(HeadOutput(image, mask, confidence), labels, target), expected)
