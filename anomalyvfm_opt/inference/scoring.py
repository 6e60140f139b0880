"""Frames scored by a calibrated bank, as a trial does it, and what is wrong where that fails."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.errors import DivergedError, DoesNotFitError, EnvironmentMissingError, UsageError
from anomalyvfm_opt.evaluation.features import extract_features
from anomalyvfm_opt.evaluation.scorer_bank import CalibratedBank, Scores
from anomalyvfm_opt.evaluation.scorers import list_parts
from anomalyvfm_opt.evaluation.stitching import mark_content
from anomalyvfm_opt.inference.folder import AGAIN
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.model.device_faults import explained_device
from anomalyvfm_opt.model.memory import ShrinkingBatch


@dataclass(frozen=True)
class MapCells:
    """Maps of n images, and how many of their cells are no padding: float32 (n, gh, gw), int (n, 2)."""

    maps: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, scores: Scores, scorer: str, frames: Frames) -> "MapCells":
        """Return the maps of one scorer."""
        maps = scores.maps[scorer]
        is_content = mark_content(frames, (maps.shape[1], maps.shape[2]))
        counts = np.stack([is_content.any(axis=2).sum(axis=1), is_content.any(axis=1).sum(axis=1)], axis=1)
        return cls(maps, counts)

    def cut(self, index: int) -> np.ndarray:
        """Return the map of one image without padding, float32 (h, w)."""
        height, width = self.counts[index]
        return self.maps[index, :height, :width].copy()

    def find_peaks(self) -> np.ndarray:
        """Return the highest cell of each map, float64 (n,)."""
        return np.array([self.cut(index).max() for index in range(len(self.maps))], dtype=np.float64)


def score_frames(
    detector: Detector,
    bank: CalibratedBank,
    frames: Frames,
    batch: ShrinkingBatch,
    wanted: Collection[str] | None = None,
) -> Scores:
    """Score frames; the heads run where a scorer reads them.

    Args:
        detector: adapted or frozen.
        bank: its scorers.
        frames: that are scored.
        batch: how many tiles at once.
        wanted: names of scorers; None for every one that the detector has.

    Raises:
        UsageError: its outputs are not finite.
        EnvironmentMissingError: not even one tile fits into the device's memory, or the device is lost.
    """
    parts = [part for name in wanted or () for part in list_parts(name, has_heads=True)]
    needs_heads = wanted is None or any(part.needs_heads for part in parts)
    try:
        with explained_device(detector.backbone.device), torch.inference_mode():
            return bank.score(extract_features(detector, frames, batch, needs_heads), wanted)
    except DivergedError as error:
        raise UsageError(f"this detector cannot be used: {error.message}", AGAIN) from None
    except DoesNotFitError as error:
        raise EnvironmentMissingError(
            error.message, "end what else uses that memory, or use another device"
        ) from None


def choose_map_scorer(scorer: str, has_heads: bool) -> str:
    """Return whose map is given with a scorer's score: its own, or that of its nearest relative.

    Args:
        scorer: whose score it is.
        has_heads: whether the detector was trained.
    """
    if scorer in ("decoder", "patch_knn"):
        return scorer
    return "decoder" if scorer == "predictor" and has_heads else "patch_knn"
