"""The exam of a study: the images that every trial is scored on, and the value that comes of it."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import has_mask, load_images, load_masks
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.evaluation.metrics import Metrics, auroc, evaluate
from anomalyvfm_opt.evaluation.scorers import Scores
from anomalyvfm_opt.synthesis.exam import make_exam

_SEED = 20261  # one exam for all trials and arms


@dataclass(frozen=True)
class Exam:
    """n scored images, and the m normal images that scores are calibrated on; no image is both."""

    keys: tuple[str, ...]
    images: np.ndarray  # uint8 (n, h, w, 3)
    labels: np.ndarray  # int (n,), 1 for anomalous
    masks: np.ndarray  # uint8 (n, h, w)
    is_masked: np.ndarray  # bool (n,): a bad image without a mask is left out of the pixel metrics
    calibration: np.ndarray  # uint8 (m, h, w, 3)

    def value(self, scores: Scores, objective: str) -> tuple[float, str]:
        """The trial's value, an image AUROC, and the scorer that it comes from.

        Args:
            scores: of the n images.
            objective: a scorer, or `best` for the one with the highest AUROC, as for a detector that lacks it.
        """
        if objective in scores.image:
            return auroc(scores.image[objective], self.labels), objective
        values = {name: auroc(image, self.labels) for name, image in scores.image.items()}
        best = max(values, key=lambda name: values[name])
        return values[best], best

    def evaluate(self, scores: Scores) -> dict[str, Metrics]:
        """All metrics of each scorer; those over pixels where the scorer has maps and an anomaly has a mask."""
        return {name: self._evaluate(scores, name) for name in scores.image}

    def _evaluate(self, scores: Scores, scorer: str) -> Metrics:
        if scorer not in scores.maps or not self.masks[self.is_masked].any():
            return evaluate(scores.image[scorer], self.labels)
        maps = torch.from_numpy(scores.maps[scorer][self.is_masked]).unsqueeze(1)
        full = F.interpolate(maps, self.masks.shape[1:], mode="bilinear", align_corners=False).squeeze(1).numpy()
        return evaluate(scores.image[scorer], self.labels, full, self.masks[self.is_masked])


def set_exam(arrays: ArrayStore, split: Split, image_size_px: int, anomalies: int) -> Exam:
    """The exam of a division.

    With search images (lock: half) these are it. Without (lock: all) it is every second held-out normal image
    against synthetic anomalies made of the same, by generators that no trial trains on.

    Args:
        arrays: the host's store of decoded images.
        split: the division.
        image_size_px: side of the images.
        anomalies: how many synthetic anomalies an exam without search images has.
    """
    held_out = load_images(arrays, split.held_out, image_size_px)
    if split.search:
        return Exam(
            keys=tuple(record.key for record in split.search),
            images=load_images(arrays, split.search, image_size_px),
            labels=np.array([record.label == "bad" for record in split.search], dtype=np.int64),
            masks=load_masks(arrays, split.search, image_size_px),
            is_masked=np.array([record.label == "good" or has_mask(record) for record in split.search]),
            calibration=held_out,
        )
    normal = held_out[1::2]
    anomalous, masks, kinds = make_exam(normal, anomalies, _SEED)
    keys = [record.key for record in split.held_out[1::2]]
    keys += [f"exam/{index:04d}_{kind}" for index, kind in enumerate(kinds)]
    return Exam(
        keys=tuple(keys),
        images=np.concatenate([normal, anomalous]),
        labels=np.array([0] * len(normal) + [1] * len(anomalous), dtype=np.int64),
        masks=np.concatenate([np.zeros((len(normal), *masks.shape[1:]), dtype=np.uint8), masks]),
        is_masked=np.ones(len(keys), dtype=bool),
        calibration=held_out[::2],
    )
