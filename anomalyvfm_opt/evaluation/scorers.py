"""Scorers, one entry each: ways from adapted features to an image score; a higher score is more anomalous.

`predictor` and `decoder` are the trained heads (AnomalyVFM). `mahalanobis` is the distance of the pooled
feature to the normal images, with a Ledoit-Wolf covariance (there are fewer images than dimensions).
`patch_knn` is the distance to the nearest normal patch (PatchCore, Roth et al. 2022; AnomalyDINO, Damm et
al. 2025), the training-free rival. An image in tiles has the score of its most anomalous tile, or that of its
stitched map. `ensemble`, which the bank adds, is the mean of robust z-scores against normals that
nothing was fitted on.

To add a scorer, add its name to `spec.model.ScorerName` and its entry to `SCORERS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from anomalyvfm_opt.evaluation.features import Features

ENSEMBLE = "ensemble"
_TRACED_AT_ONCE = 512  # remembered patches that a graph measures distances to


@dataclass(frozen=True)
class NormalFeatures:
    """What scorers are fitted on: features of normal images.

    Args:
        patches: those that are remembered, (m, c).
        pooled: of all t tiles, (t, d).
    """

    patches: Tensor
    pooled: Tensor


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """One scorer.

    Args:
        name: as in a spec's `scoring.objective`.
        needs_heads: whether it reads the trained heads; the frozen detector then lacks it.
        has_map: whether it says where: its score is then the mean of the highest cells of its map.
        is_in_ensemble: whether its z-score counts in the ensemble's mean.
        fit: what `compute` needs to know of normal images.
        compute: given what was fitted and the features of b tiles, scores (b,), or maps (b, h, w).
        trace: the same for a graph (ONNX), in operations that do not depend on b; None where there is none, so
            that such a scorer has no graph.
    """

    name: str
    needs_heads: bool
    has_map: bool
    is_in_ensemble: bool = True
    fit: Callable[[NormalFeatures], Any] = lambda _normal: None
    compute: Callable[[Any, Features], Tensor]
    trace: Callable[[Any, Features], Tensor] | None = None

    @property
    def is_training_free(self) -> bool:
        """Whether nothing was trained for it, so that it works on any backbone as it is."""
        return not self.needs_heads


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """What was fitted to n pooled features."""

    center: Tensor  # float64 (d,)
    precision: Tensor  # float64 (d, d)
    images: int  # n; tiles, where images have several
    shrinkage: float  # 0-1, 0 for a plain sample covariance


@dataclass(frozen=True)
class PatchMemory:
    """Remembered patches: (m, c), and the square of each one's length, (m,)."""

    patches: Tensor
    squared: Tensor

    @classmethod
    def of(cls, patches: Tensor) -> Self:
        """Return the memory of some patches, (m, c)."""
        return cls(patches, patches.square().sum(dim=1))


def _read_image_logit(_fitted: None, batch: Features) -> Tensor:
    return batch.require_heads().image_logit.double()


def _read_mask(_fitted: None, batch: Features) -> Tensor:
    return batch.require_heads().mask_probability


def _fit_gaussian(normal: NormalFeatures) -> Gaussian:
    """Fit mean and precision of the pooled features, shrunk as Ledoit and Wolf (2004)."""
    from sklearn.covariance import LedoitWolf

    pooled = normal.pooled
    fitted = LedoitWolf().fit(pooled.cpu().numpy().astype(np.float64))
    center, precision = (
        torch.from_numpy(part).to(pooled.device) for part in (fitted.location_, fitted.get_precision())
    )
    shrinkage = float(getattr(fitted, "shrinkage_", 0.0))
    return Gaussian(center=center, precision=precision, images=len(pooled), shrinkage=shrinkage)


def _measure_pooled(gaussian: Gaussian, batch: Features) -> Tensor:
    """Return the Mahalanobis distance of pooled features: float64 (b,)."""
    centred = batch.pooled.double() - gaussian.center
    return torch.einsum("nd,de,ne->n", centred, gaussian.precision, centred).clamp_min(0).sqrt()


def _measure_patches(memory: PatchMemory, batch: Features) -> Tensor:
    """Return how far each patch is from the nearest remembered one: float32 (b, gh, gw)."""
    patches, rows = batch.patches, []
    for one_tile in patches.flatten(1, 2):
        cross = one_tile @ memory.patches.T  # (p, m)
        nearest = (memory.squared - 2 * cross).min(dim=1).values
        rows.append((nearest + one_tile.square().sum(dim=1)).clamp_min(0).sqrt())
    return torch.stack(rows).reshape(patches.shape[:3])


def _trace_patches(memory: PatchMemory, batch: Features) -> Tensor:
    """Return the distances of `_measure_patches` of all tiles at once, a part of the remembered after another.

    So it needs the memory for distances to one part: float32 (b, gh, gw, 512).
    """
    patches = batch.patches
    by_part = [
        (part.square().sum(dim=1) - 2 * (patches @ part.T)).amin(dim=-1)  # (b, gh, gw)
        for part in torch.split(memory.patches, _TRACED_AT_ONCE)
    ]
    nearest = reduce(torch.minimum, by_part)
    return (nearest + patches.square().sum(dim=-1)).clamp_min(0).sqrt()


MAHALANOBIS = Scorer(
    name="mahalanobis",
    needs_heads=False,
    has_map=False,
    fit=_fit_gaussian,
    compute=_measure_pooled,
    trace=_measure_pooled,
)
SCORERS = (
    Scorer(name="predictor", needs_heads=True, has_map=False, compute=_read_image_logit, trace=_read_image_logit),
    Scorer(name="decoder", needs_heads=True, has_map=True, compute=_read_mask, trace=_read_mask),
    MAHALANOBIS,
    Scorer(
        name="patch_knn",
        needs_heads=False,
        has_map=True,
        fit=lambda normal: PatchMemory.of(normal.patches),
        compute=_measure_patches,
        trace=_trace_patches,
    ),
)


def list_parts(scorer: str, has_heads: bool) -> list[Scorer]:
    """List the scorers whose scores a scorer's score is made of: itself, or those that the ensemble joins.

    Args:
        scorer: whose score it is; of an unknown name there are none.
        has_heads: whether the detector was trained.
    """
    if scorer == ENSEMBLE:
        return [one for one in SCORERS if one.is_in_ensemble and (has_heads or not one.needs_heads)]
    return [one for one in SCORERS if one.name == scorer]
