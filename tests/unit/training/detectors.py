"""Small trainings in full: a real backbone, a real loop, all scorers."""

import numpy as np

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.evaluation.coreset import choose_coreset
from anomalyvfm_opt.evaluation.features import TileFeatures, extract_features
from anomalyvfm_opt.evaluation.scorer_bank import ScorerBank
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.model.memory import ShrinkingBatch
from anomalyvfm_opt.training.finetune import Schedule, TrainingSet, finetune

CNN = ("tf_efficientnet_lite0", "offline", (1, 2), (2, 3), 64)
VIT = ("test_vit.r160_in1k", "random", (0, 1), None, 64)
KINDS = ("lora", "rslora", "dora", "adalora", "none")


def make_frames(pixels: np.ndarray) -> Frames:
    height, width = pixels.shape[1:3]
    return Frames(pixels, np.tile((height, width), (len(pixels), 1)), Geometry((height, width), height, height))


def draw_images(side_px: int) -> TrainingSet:
    """Grey noise, and the same with a bright square in the middle."""
    rng = np.random.default_rng(0)
    normal = rng.integers(100, 140, (6, side_px, side_px, 3), dtype=np.uint8)
    anomalous, masks = normal[:4].copy(), np.zeros((4, side_px, side_px), np.uint8)
    square = slice(side_px // 3, 2 * side_px // 3)
    anomalous[:, square, square] = 255
    masks[:, square, square] = 1
    return TrainingSet(make_frames(normal), anomalous, masks)


def plan(epochs: int, steps_per_epoch: int) -> Schedule:
    return Schedule(
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        batch_size=4,
        learning_rate=2e-3,
        head_learning_rate=2e-3,
        warmup_steps=1,
        weight_decay=0.01,
        seed=5,
    )


def train(detector: Detector, images: TrainingSet, schedule: Schedule) -> list[float]:
    """The losses of the steps."""
    return list(finetune(detector, images, schedule, lambda *_: None).by_step)


def score(detector: Detector, images: TrainingSet) -> dict[str, np.ndarray]:
    """Scores of the anomalous images by every scorer."""
    normal, batch = images.normal, ShrinkingBatch(4, detector.backbone.device)

    def extract_fit() -> TileFeatures:
        return extract_features(detector, normal.choose(slice(None, 4)), batch, with_heads=False)

    every = 4096  # patches and more: a choice of some could turn on the rounding that a merged adapter brings
    bank = ScorerBank.fit(extract_fit(), choose_coreset(extract_fit(), every, 0))
    calibrated = bank.calibrate(extract_features(detector, normal.choose(slice(4, None)), batch))
    return calibrated.score(extract_features(detector, make_frames(images.anomalous), batch)).image
