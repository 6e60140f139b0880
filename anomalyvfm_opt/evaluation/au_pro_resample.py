"""AU-PRO in many draws of the same images, without sorting their pixels again for each.

Pixels are sorted into bins once. Of each image two histograms are kept: of its normal pixels, and of its anomalous
ones, each weighing 1 / area of its region. A draw counts images, so its curve is a weighted sum of histograms. At
the edges of bins the curve is exact, between them it is a line.
"""

import numpy as np

from anomalyvfm_opt.evaluation.metrics import label_regions

AU_PRO = "au_pro_005"  # the name of this metric under draws of scenes
_FINE_BINS = 2000
_FINE_UP_TO = 5  # times the limit: in a draw of easy images the limit lies at a lower score than in all
_COARSE_BINS = 500
_LARGEST_SAMPLE = 4_000_000  # pixels that edges are chosen by


def resample_au_pro(
    maps: np.ndarray,
    masks: np.ndarray,
    is_image: np.ndarray | None,
    counts: np.ndarray,
    fpr_limit: float = 0.05,
) -> np.ndarray:
    """AU-PRO up to a false positive rate, as `metrics.au_pro` defines it, in each draw of images.

    Args:
        maps: float (n, h, w), higher is more anomalous.
        masks: 0 or not 0, (n, h, w).
        is_image: bool (n, h, w), False where there is padding, which counts for nothing; None if there is none.
        counts: how often each image counts in each draw, int (draws, n).
        fpr_limit: above 0, at most 1.

    Returns:
        float64 (draws,); NaN for a draw that has no anomalous region or no normal pixel.

    Raises:
        ValueError: shapes differ, a map value is NaN or infinite, or the limit is out of range.
    """
    if maps.ndim != 3 or maps.shape != masks.shape or counts.shape[1:] != maps.shape[:1]:
        raise ValueError(
            f"maps {maps.shape} and masks {masks.shape} must both be (images, height, width),"
            f" and counts {counts.shape} (draws, images)"
        )
    if not np.isfinite(maps).all():
        raise ValueError("a map value is NaN or infinite")
    if not 0 < fpr_limit <= 1:
        raise ValueError(f"fpr_limit is {fpr_limit}, but must be above 0 and at most 1")
    is_content = np.ones(maps.shape, dtype=bool) if is_image is None else is_image
    is_anomalous = (masks != 0) & is_content
    is_normal = ~is_anomalous & is_content
    edges = _choose_edges(maps, is_normal, fpr_limit)
    histograms = [_fill_bins(*image, edges) for image in zip(maps, is_normal, is_anomalous, strict=True)]
    normal, anomalous, regions = (np.array(part) for part in zip(*histograms, strict=True))
    weights = counts.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 is the NaN that is promised
        rate = _accumulate(weights @ normal) / (weights @ normal.sum(axis=1))[:, None]
        overlap = _accumulate(weights @ anomalous) / (weights @ regions)[:, None]
    return _areas(rate, overlap, fpr_limit)


def _choose_edges(maps: np.ndarray, is_normal: np.ndarray, fpr_limit: float) -> np.ndarray:
    """Bins of equal numbers of normal pixels, narrow where the limit may lie: ascending float (edges,).

    Between two such bins the score that parts them has one of its own: many pixels may share it, and it is one
    threshold. Nothing normal lies above the last edge.
    """
    step = -(-maps.size // _LARGEST_SAMPLE)
    sample = np.sort(maps.ravel()[::step][is_normal.ravel()[::step]])
    if not len(sample):
        return np.empty(0, dtype=maps.dtype)
    fine = min(1.0, _FINE_UP_TO * fpr_limit)
    shares = np.concatenate([np.linspace(1, fine, _COARSE_BINS, endpoint=False), np.linspace(fine, 0, _FINE_BINS)])
    places = np.round((1 - shares) * (len(sample) - 1)).astype(np.int64)
    chosen = np.append(sample[np.unique(places)], maps.max(where=is_normal, initial=sample[-1]))
    return np.unique(np.concatenate([chosen, np.nextafter(chosen, np.inf, dtype=chosen.dtype)]))


def _fill_bins(
    one: np.ndarray, is_normal: np.ndarray, is_anomalous: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Count an image's normal and weighted anomalous pixels by bin, float64 (edges + 1,), and its regions."""
    bins = len(edges) + 1
    normal = np.bincount(np.searchsorted(edges, one[is_normal], side="right"), minlength=bins).astype(np.float64)
    if not is_anomalous.any():
        return normal, np.zeros(bins), 0
    regions, count = label_regions(is_anomalous[None])
    numbers = regions[0][is_anomalous]
    weights = 1 / np.bincount(numbers, minlength=count + 1)[numbers]
    places = np.searchsorted(edges, one[is_anomalous], side="right")
    return normal, np.bincount(places, weights=weights, minlength=bins), count


def _accumulate(histograms: np.ndarray) -> np.ndarray:
    """Sums from the highest bin down, the first of them 0: (draws, bins + 1)."""
    sums = np.cumsum(histograms[:, ::-1], axis=1)
    return np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)


def _areas(rate: np.ndarray, overlap: np.ndarray, limit: float) -> np.ndarray:
    """Trapezoids under each curve (draws, points) from rate 0 to the limit, divided by the limit."""
    length = np.diff(rate, axis=1)
    width = np.clip(limit - rate[:, :-1], 0, length)
    reached = np.divide(width, length, out=np.zeros_like(length), where=length > 0)
    rise = np.diff(overlap, axis=1) * reached
    areas: np.ndarray = (width * (overlap[:, :-1] + rise / 2)).sum(axis=1) / limit
    areas[np.isnan(rate[:, -1])] = np.nan
    return areas
