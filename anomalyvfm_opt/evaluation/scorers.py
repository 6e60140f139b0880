"""Scorers: ways from adapted features to an image score; a higher score is more anomalous.

`predictor` and `decoder` are the trained heads (AnomalyVFM). `mahalanobis` is the distance of the pooled
feature to the normal images, with a Ledoit-Wolf covariance (there are fewer images than dimensions).
`patch_knn` is the distance to the nearest normal patch (PatchCore, Roth et al. 2022; AnomalyDINO, Damm et
al. 2025), the training-free rival. An image in tiles has the score of its most anomalous tile, or that of its
stitched map. `ensemble` is the mean of the others' robust z-scores against normals that
nothing was fitted on.
"""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from anomalyvfm_opt.evaluation.coreset import take_rows
from anomalyvfm_opt.evaluation.features import TileFeatures
from anomalyvfm_opt.evaluation.stitching import mean_of_top, stitch_maps, take_highest

ENSEMBLE = "ensemble"
_TOP_SHARE = 0.01  # an image score is the mean over this share of its map
_MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class Scores:
    """Scores of n images by scorer: `image[scorer]` float64 (n,), `maps[scorer]` float32 (n, h, w)."""

    image: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]


@dataclass(frozen=True)
class Gaussian:
    """What was fitted to n pooled features."""

    center: Tensor  # float64 (d,)
    precision: Tensor  # float64 (d, d)
    images: int  # n; tiles, where images have several
    shrinkage: float  # 0-1, 0 for a plain sample covariance


class ScorerBank:
    """All scorers but the ensemble, fitted on normal images; each exam calibrates it on normals of its own.

    Args:
        fit: features of the normal images that the detector was trained on.
        remembered: which of their patches make the memory bank, see `choose_coreset`.
    """

    def __init__(self, fit: TileFeatures, remembered: np.ndarray) -> None:
        self._memory, pooled = _collect(fit, remembered)
        self.gaussian = _fit_gaussian(pooled)

    def calibrate(self, held_out: TileFeatures) -> "CalibratedBank":
        """The bank with the ensemble's scales; it is not changed itself.

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

    def score(self, features: TileFeatures) -> Scores:
        """Score images by every scorer that the detector has, but for the ensemble."""
        frames = features.frames
        tiles: dict[str, list[np.ndarray]] = defaultdict(list)  # scores (b,) and maps (b, h, w) of tiles
        for batch in features.batches:
            if batch.image_logit is not None and batch.mask_probability is not None:
                tiles["predictor"].append(_to_numpy(batch.image_logit).astype(np.float64))
                tiles["decoder"].append(_to_numpy(batch.mask_probability))
            tiles["mahalanobis"].append(_to_numpy(self._measure_pooled(batch.pooled)))
            tiles["patch_knn"].append(_to_numpy(_nearest_distance(batch.patches, self._memory)))
        image: dict[str, np.ndarray] = {}
        maps: dict[str, np.ndarray] = {}
        for name, parts in tiles.items():
            joined = np.concatenate(parts)
            if joined.ndim == 1:
                image[name] = take_highest(frames, joined)
            else:
                maps[name] = stitch_maps(frames, joined)
                image[name] = mean_of_top(frames, maps[name], _TOP_SHARE)
        return Scores(image, maps)

    def _measure_pooled(self, pooled: Tensor) -> Tensor:
        """Mahalanobis distance of pooled features (b, d): float64 (b,)."""
        centred = pooled.double() - self.gaussian.center
        return torch.einsum("nd,de,ne->n", centred, self.gaussian.precision, centred).clamp_min(0).sqrt()


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

    def score(self, features: TileFeatures) -> Scores:
        """Score images by every scorer that the detector has, the ensemble included."""
        alone = self.bank.score(features)
        z = [(values - self.location[name]) / self.scale[name] for name, values in alone.image.items()]
        return replace(alone, image={**alone.image, ENSEMBLE: np.mean(z, axis=0)})


def _collect(fit: TileFeatures, remembered: np.ndarray) -> tuple[Tensor, Tensor]:
    """The remembered patches (m, c), and all pooled features (t, d)."""
    patches, pooled = [], []
    start = 0
    for batch in fit.batches:
        rows = batch.patches.flatten(0, 2)  # (b * gh * gw, c)
        patches.append(take_rows(rows, remembered, start))
        pooled.append(batch.pooled)
        start += len(rows)
    return torch.cat(patches), torch.cat(pooled)


def _fit_gaussian(pooled: Tensor) -> Gaussian:
    """Mean and precision of features (n, d), shrunk as Ledoit and Wolf (2004)."""
    from sklearn.covariance import LedoitWolf

    fitted = LedoitWolf().fit(_to_numpy(pooled).astype(np.float64))
    center, precision = (
        torch.from_numpy(part).to(pooled.device) for part in (fitted.location_, fitted.get_precision())
    )
    return Gaussian(center, precision, len(pooled), float(getattr(fitted, "shrinkage_", 0.0)))


def _nearest_distance(patches: Tensor, memory: Tensor) -> Tensor:
    """Euclidean distance of each patch (b, gh, gw, c) to its nearest in memory (m, c): float32 (b, gh, gw)."""
    memory_squared = memory.square().sum(dim=1)  # (m,)
    rows = []
    for one_tile in patches.flatten(1, 2):
        cross = one_tile @ memory.T  # (p, m)
        nearest = (memory_squared - 2 * cross).min(dim=1).values
        rows.append((nearest + one_tile.square().sum(dim=1)).clamp_min(0).sqrt())
    return torch.stack(rows).reshape(patches.shape[:3])


def _robust_scale(values: np.ndarray) -> float:
    spread = _MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))
    return spread if spread > 0 else max(float(np.std(values)), 1e-12)


def _to_numpy(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array
