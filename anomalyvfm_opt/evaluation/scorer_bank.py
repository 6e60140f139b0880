"""The scorers of one detector, fitted on normal images, and the scores that they give."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch

from anomalyvfm_opt.evaluation.coreset import take_rows
from anomalyvfm_opt.evaluation.features import TileFeatures
from anomalyvfm_opt.evaluation.scorers import (
    ENSEMBLE,
    MAHALANOBIS,
    SCORERS,
    Gaussian,
    NormalFeatures,
    Scorer,
    list_parts,
)
from anomalyvfm_opt.evaluation.stitching import mean_of_top, stitch_maps, take_highest

TOP_SHARE = 0.01  # an image score is the mean over this share of its map
_MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class Scores:
    """Scores of n images by scorer: `image[scorer]` float64 (n,), `maps[scorer]` float32 (n, h, w)."""

    image: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]


class ScorerBank:
    """All scorers but the ensemble, fitted on normal images; each exam calibrates it on normals of its own.

    Args:
        fitted: what each scorer's `fit` returned, by its name.
    """

    def __init__(self, fitted: Mapping[str, Any]) -> None:
        self._fitted = dict(fitted)

    @classmethod
    def fit(cls, features: TileFeatures, remembered: np.ndarray) -> Self:
        """Fit all scorers.

        Args:
            features: of the normal images that the detector was trained on.
            remembered: which of their patches are remembered, see `choose_coreset`.
        """
        normal = _collect(features, remembered)
        return cls({scorer.name: scorer.fit(normal) for scorer in SCORERS})

    @property
    def fitted(self) -> Mapping[str, Any]:
        """What was fitted, by the name of the scorer; None of one that has nothing to fit."""
        return self._fitted

    @property
    def gaussian(self) -> Gaussian:
        """What was fitted to the pooled features."""
        fitted: Gaussian = self._fitted[MAHALANOBIS.name]
        return fitted

    def calibrate(self, held_out: TileFeatures) -> "CalibratedBank":
        """Return the bank with the ensemble's scales; it is not changed itself.

        Args:
            held_out: features of normal images that nothing was trained or fitted on (at least 2), and that are
                not scored afterwards.
        """
        reference = self.score(held_out).image
        return CalibratedBank(
            bank=self,
            location={name: float(np.median(values)) for name, values in reference.items()},
            scale={name: _robust_scale(values) for name, values in reference.items()},
        )

    def score(self, features: TileFeatures, wanted: Collection[str] | None = None) -> Scores:
        """Score images by every scorer that the detector has, but for the ensemble.

        Args:
            features: of the images' tiles.
            wanted: names of scorers, of which the detector has one at least; None for all.
        """
        known = [scorer for scorer in SCORERS if wanted is None or scorer.name in wanted]
        tiles: dict[str, list[np.ndarray]] = {}  # scores (b,) or maps (b, h, w) of tiles
        present: list[Scorer] = []
        for batch in features.batches:
            present = [scorer for scorer in known if batch.heads is not None or not scorer.needs_heads]
            for scorer in present:
                computed = scorer.compute(self._fitted[scorer.name], batch)
                tiles.setdefault(scorer.name, []).append(computed.cpu().numpy())
        frames, scores = features.frames, Scores({}, {})
        for scorer in present:
            joined = np.concatenate(tiles[scorer.name])
            if scorer.has_map:
                scores.maps[scorer.name] = maps = stitch_maps(frames, joined)
                scores.image[scorer.name] = mean_of_top(frames, maps, TOP_SHARE)
            else:
                scores.image[scorer.name] = take_highest(frames, joined)
        return scores


@dataclass(frozen=True)
class CalibratedBank:
    """A fitted bank, and what its scores of normal images are like.

    Args:
        bank: the fitted scorers.
        location: scorer -> median score.
        scale: scorer -> robust standard deviation.
    """

    bank: ScorerBank
    location: dict[str, float]
    scale: dict[str, float]

    def score(self, features: TileFeatures, wanted: Collection[str] | None = None) -> Scores:
        """Score images by every scorer that the detector has, the ensemble included.

        Args:
            features: of the images' tiles.
            wanted: names of scorers, of which the detector has one at least; those that an ensemble joins are
                given with it. None for all.
        """
        parts = None
        if wanted is not None:
            parts = {part.name for name in wanted for part in list_parts(name, has_heads=True)}
        alone = self.bank.score(features, parts)
        if wanted is not None and ENSEMBLE not in wanted:
            return alone
        z = [(alone.image[name] - self.location[name]) / self.scale[name] for name in _list_counted(alone.image)]
        return replace(alone, image={**alone.image, ENSEMBLE: np.mean(z, axis=0)})

    def measure_minuends(self, image: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the size of what the ensemble's scores are differences of, float64 (n,).

        A z-score is a difference, and rounding is relative to what it is taken of: scores of 30 with an SD of 0.1
        are 300 SD, whose seventh digit is the fifth of their z-scores.

        Args:
            image: scores of n images by scorer.
        """
        sizes = [np.abs(image[name]) / self.scale[name] for name in _list_counted(image)]
        return np.asarray(np.mean(sizes, axis=0), np.float64)


def _list_counted(image: Mapping[str, np.ndarray]) -> list[str]:
    """List the scorers that count in the ensemble, among those that gave scores."""
    return [scorer.name for scorer in SCORERS if scorer.is_in_ensemble and scorer.name in image]


def _collect(fit: TileFeatures, remembered: np.ndarray) -> NormalFeatures:
    patches, pooled = [], []
    start = 0
    for batch in fit.batches:
        rows = batch.patches.flatten(0, 2)  # (b * gh * gw, c)
        patches.append(take_rows(rows, remembered, start))
        pooled.append(batch.pooled)
        start += len(rows)
    return NormalFeatures(torch.cat(patches), torch.cat(pooled))


def _robust_scale(values: np.ndarray) -> float:
    spread = _MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))
    return spread if spread > 0 else max(float(np.std(values)), 1e-12)
