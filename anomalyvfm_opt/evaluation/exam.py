"""The exam of a study: the images that every trial is scored on, and the value that comes of it."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import has_mask, load_images, load_masks
from anomalyvfm_opt.data.frames import Frames, draw_corner
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.evaluation.metrics import Metrics, auroc, evaluate
from anomalyvfm_opt.evaluation.scorers import Scores
from anomalyvfm_opt.evaluation.stitching import mark_content
from anomalyvfm_opt.synthesis.exam import Window, make_exam

_SEED = 20261  # one exam for all trials and arms
_LARGEST_METRIC_PX = 800  # to sort the pixels of larger frames would take longer than a trial


@dataclass(frozen=True)
class Exam:
    """n scored images, and the m normal images that scores are calibrated on; no image is both."""

    keys: tuple[str, ...]
    images: Frames  # n
    labels: np.ndarray  # int (n,), 1 for anomalous
    masks: np.ndarray  # uint8 (n, h, w)
    is_masked: np.ndarray  # bool (n,): a bad image without a mask is left out of the pixel metrics
    calibration: Frames  # m

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
        """All metrics of each scorer; those over pixels where the scorer has maps and an anomaly has a mask.

        Pixels are those of the frames, or of frames reduced to at most 800 px; padding counts for nothing.
        """
        return {name: self._evaluate(scores, name) for name in scores.image}

    def _evaluate(self, scores: Scores, scorer: str) -> Metrics:
        masks = _reduce_masks(self.masks[self.is_masked])
        if scorer not in scores.maps or not masks.any():
            return evaluate(scores.image[scorer], self.labels)
        maps = torch.from_numpy(scores.maps[scorer][self.is_masked]).unsqueeze(1)
        full = F.interpolate(maps, masks.shape[1:], mode="bilinear", align_corners=False).squeeze(1).numpy()
        shape = (masks.shape[1], masks.shape[2])
        is_image = mark_content(self.images, shape)[self.is_masked] if self.images.has_padding else None
        return evaluate(scores.image[scorer], self.labels, full, masks, is_image)


def set_exam(arrays: ArrayStore, split: Split, geometry: Geometry, anomalies: int) -> Exam:
    """The exam of a division.

    With search images (lock: half) these are it. Without (lock: all) it is every second held-out normal image
    against synthetic anomalies made of the same, by generators that no trial trains on.

    Args:
        arrays: the host's store of decoded images.
        split: the division.
        geometry: of the images.
        anomalies: how many synthetic anomalies an exam without search images has.
    """
    held_out = load_images(arrays, split.held_out, geometry)
    if split.search:
        return Exam(
            keys=tuple(record.key for record in split.search),
            images=load_images(arrays, split.search, geometry),
            labels=np.array([record.label == "bad" for record in split.search], dtype=np.int64),
            masks=load_masks(arrays, split.search, geometry),
            is_masked=np.array([has_mask(record) for record in split.search]),
            calibration=held_out,
        )
    normal = held_out.choose(slice(1, None, 2))
    anomalous, masks, kinds, bases = _make_anomalies(normal, anomalies)
    keys = [record.key for record in split.held_out[1::2]]
    keys += [f"exam/{index:04d}_{kind}" for index, kind in enumerate(kinds)]
    images = Frames(
        np.concatenate([normal.pixels, anomalous]),
        np.concatenate([normal.content_px, normal.content_px[bases]]),
        geometry,
    )
    return Exam(
        keys=tuple(keys),
        images=images,
        labels=np.array([0] * len(normal) + [1] * len(anomalous), dtype=np.int64),
        masks=np.concatenate([np.zeros((len(normal), *masks.shape[1:]), dtype=np.uint8), masks]),
        is_masked=np.ones(len(keys), dtype=bool),
        calibration=held_out.choose(slice(None, None, 2)),
    )


def _make_anomalies(normal: Frames, count: int) -> tuple[np.ndarray, np.ndarray, list[str], list[int]]:
    """Synthetic anomalies in frames, each inside a part as large as what the network sees at once.

    Returns:
        Images uint8 (count, h, w, 3), masks uint8 (count, h, w), kinds, and the normal image that each is made of.
    """
    bases: list[int] = []
    side = normal.geometry.tile_px

    def choose_window(index: int, rng: np.random.Generator) -> Window:
        bases.append(index)
        height, width = (int(length) for length in normal.content_px[index])
        if not normal.geometry.is_tiled:
            return slice(0, height), slice(0, width)
        top, left = draw_corner(normal.content_px[index], side, rng)
        return slice(top, min(top + side, height)), slice(left, min(left + side, width))

    images, masks, kinds = make_exam(normal.pixels, count, _SEED, choose_window)
    return images, masks, kinds, bases


def _reduce_masks(masks: np.ndarray) -> np.ndarray:
    """Masks (n, h, w) no larger than pixel metrics can take; a pixel is 1 if any part of it is."""
    factor = math.ceil(max(masks.shape[1:]) / _LARGEST_METRIC_PX)
    if factor == 1:
        return masks
    reduced: np.ndarray = (
        F.max_pool2d(torch.from_numpy(masks).unsqueeze(1).float(), factor, ceil_mode=True)
        .squeeze(1)
        .numpy()
        .astype(np.uint8)
    )
    return reduced
