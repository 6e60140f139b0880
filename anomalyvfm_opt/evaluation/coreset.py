"""Which patches of the normal images `patch_knn` remembers: a coreset, chosen on the frozen network's features.

A random sample forgets rare normal patches, and each that is forgotten looks anomalous. Greedy k-center (Gonzalez
1985; PatchCore, Roth et al. 2022, algorithm 1) keeps the patch that is farthest from those kept so far. The choice
is made once for all trials: an adapter moves features, not which patches differ.
"""

import numpy as np
import torch
from torch import Tensor

from anomalyvfm_opt.evaluation.features import TileFeatures
from anomalyvfm_opt.evaluation.stitching import mark_tile_content

_CANDIDATES = 16  # times the coreset: what the greedy choice looks at, since its cost grows with both
_PROJECTED = 64  # dimensions that distances are taken in (Johnson and Lindenstrauss 1984), as PatchCore does


def choose_coreset(fit: TileFeatures, most: int, seed: int) -> np.ndarray:
    """Return the patches to remember.

    Args:
        fit: features of normal images by the frozen network, t tiles of (g, g) patches.
        most: how many patches at most; with no more than that, all that are no padding.
        seed: of the draw of candidates and of the projection.

    Returns:
        Sorted int64 (m,) indices of the t * g * g patches.
    """
    rng = np.random.default_rng(seed)
    candidates: np.ndarray | None = None
    projection: Tensor | None = None
    rows, start = [], 0
    for batch in fit.batches:
        patches = batch.patches.flatten(0, 2)  # (b * g * g, c)
        if candidates is None or projection is None:
            candidates = _draw(mark_tile_content(fit.frames, batch.patches.shape[1]), _CANDIDATES * most, rng)
            projection = _draw_projection(patches, rng)
        rows.append(take_rows(patches, candidates, start) @ projection)
        start += len(patches)
    if candidates is None or len(candidates) <= most:
        return np.empty(0, np.int64) if candidates is None else candidates
    chosen: np.ndarray = np.sort(candidates[_choose_greedily(torch.cat(rows), most)])
    return chosen


def take_rows(patches: Tensor, chosen: np.ndarray, start: int) -> Tensor:
    """Return the chosen ones among patches (p, c), which are number `start` and following of all."""
    first, last = np.searchsorted(chosen, (start, start + len(patches)))
    return patches[torch.from_numpy(chosen[first:last] - start).to(patches.device)]


def _draw(is_content: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of at most `most` patches that are no padding, of bool (t, g, g)."""
    candidates = np.flatnonzero(is_content)
    if len(candidates) <= most:
        return candidates
    return candidates[np.sort(rng.choice(len(candidates), most, replace=False))]


def _draw_projection(patches: Tensor, rng: np.random.Generator) -> Tensor:
    """(c, d) that keeps distances of (p, c), on average, to about 1 / sqrt(d)."""
    channels = patches.shape[1]
    if channels <= _PROJECTED:
        return torch.eye(channels, device=patches.device)
    drawn = rng.standard_normal((channels, _PROJECTED)) / np.sqrt(_PROJECTED)
    return torch.from_numpy(drawn.astype(np.float32)).to(patches.device)


def _choose_greedily(points: Tensor, count: int) -> np.ndarray:
    """Indices (count,) of points (n, d): first the one farthest from the mean, then always the farthest left."""
    squared = points.square().sum(dim=1)
    nearest = torch.full_like(squared, torch.inf)  # squared distance of each point to the chosen ones
    last = (points - points.mean(dim=0)).square().sum(dim=1).argmax()
    chosen = [last]
    for _ in range(count - 1):
        center = points[last]
        distance = squared - 2 * (points @ center) + center.square().sum()
        nearest = torch.minimum(nearest, distance)
        nearest[last] = -torch.inf  # never twice, also among equal points
        last = nearest.argmax()
        chosen.append(last)
    indices: np.ndarray = torch.stack(chosen).cpu().numpy()
    return indices
