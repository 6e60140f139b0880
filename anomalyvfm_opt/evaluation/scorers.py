"""Scorers: ways from adapted features to an image score; a higher score is more anomalous.

`predictor` and `decoder` are the trained heads (AnomalyVFM). `mahalanobis` is the distance of the pooled
feature to the normal images, with a Ledoit-Wolf covariance (there are fewer images than dimensions).
`patch_knn` is the distance to the nearest normal patch (PatchCore, Roth et al. 2022; AnomalyDINO, Damm et
al. 2025), the training-free rival. `ensemble` is the mean of the others' robust z-scores against normals that
nothing was fitted on.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from anomalyvfm_opt.evaluation.features import Features

ENSEMBLE = "ensemble"
_TOP_SHARE = 0.01  # an image score is the mean over this share of its map
_MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class Scores:
    """Scores of n images by scorer: `image[scorer]` float64 (n,), `maps[scorer]` float32 (n, h, w)."""

    image: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]


class ScorerBank:
    """All scorers, fitted on normal images.

    Args:
        fit: features of the normal images that the detector was trained on.
        held_out: features of normal images that nothing was trained or fitted on (at least 2).
        memory_patches: most patches in the memory bank; more are thinned by a seeded draw.
        seed: of that draw.
    """

    def __init__(self, fit: Features, held_out: Features, memory_patches: int, seed: int) -> None:
        self._memory = _thin_patches(fit.patches.flatten(0, 1), memory_patches, seed)
        self._center, self._precision = _fit_gaussian(fit.pooled)
        reference = self._score_alone(held_out).image
        self._location = {name: float(np.median(values)) for name, values in reference.items()}
        self._scale = {name: _robust_scale(values) for name, values in reference.items()}

    def score(self, features: Features) -> Scores:
        """Score images by every scorer that the detector has."""
        alone = self._score_alone(features)
        z = [(values - self._location[name]) / self._scale[name] for name, values in alone.image.items()]
        return replace(alone, image={**alone.image, ENSEMBLE: np.mean(z, axis=0)})

    def _score_alone(self, features: Features) -> Scores:
        image: dict[str, np.ndarray] = {}
        maps: dict[str, np.ndarray] = {}
        if features.image_logit is not None and features.mask_probability is not None:
            image["predictor"] = _to_numpy(features.image_logit).astype(np.float64)
            maps["decoder"] = _to_numpy(features.mask_probability)
            image["decoder"] = _mean_of_top(features.mask_probability.flatten(1))
        centred = features.pooled.double() - self._center
        squared = torch.einsum("nd,de,ne->n", centred, self._precision, centred)
        image["mahalanobis"] = _to_numpy(squared.clamp_min(0).sqrt())
        distance = _nearest_distance(features.patches, self._memory)  # (n, gh * gw)
        maps["patch_knn"] = _to_numpy(distance.reshape(-1, *features.grid))
        image["patch_knn"] = _mean_of_top(distance)
        return Scores(image, maps)


def _thin_patches(patches: Tensor, most: int, seed: int) -> Tensor:
    """At most `most` rows of (m, c), by a seeded draw; the order is kept."""
    if len(patches) <= most:
        return patches
    chosen = np.sort(np.random.default_rng(seed).choice(len(patches), most, replace=False))
    return patches[torch.from_numpy(chosen).to(patches.device)]


def _fit_gaussian(pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and precision (d, d) of features (n, d), float64, shrunk as Ledoit and Wolf (2004)."""
    from sklearn.covariance import LedoitWolf

    fitted = LedoitWolf().fit(_to_numpy(pooled).astype(np.float64))
    precision = fitted.get_precision()
    return torch.from_numpy(fitted.location_).to(pooled.device), torch.from_numpy(precision).to(pooled.device)


def _nearest_distance(patches: Tensor, memory: Tensor) -> Tensor:
    """Euclidean distance of each patch (n, p, c) to its nearest in memory (m, c): float32 (n, p)."""
    memory_squared = memory.square().sum(dim=1)  # (m,)
    rows = []
    for one_image in patches:
        cross = one_image @ memory.T  # (p, m)
        nearest = (memory_squared - 2 * cross).min(dim=1).values
        rows.append((nearest + one_image.square().sum(dim=1)).clamp_min(0).sqrt())
    return torch.stack(rows)


def _mean_of_top(values: Tensor) -> np.ndarray:
    """Mean over the highest values of each row of (n, p): float64 (n,)."""
    count = max(1, round(values.shape[1] * _TOP_SHARE))
    return _to_numpy(values.double().topk(count, dim=1).values.mean(dim=1))


def _robust_scale(values: np.ndarray) -> float:
    spread = _MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))
    return spread if spread > 0 else max(float(np.std(values)), 1e-12)


def _to_numpy(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array
