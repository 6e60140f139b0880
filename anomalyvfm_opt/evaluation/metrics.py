"""How well scores and anomaly maps separate anomalous from normal: AUROC, AP, F1, AU-PRO.

All values are in 0-1. Equal scores are one threshold: no order among ties is ever invented.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]

_AU_PRO_LIMITS = (0.05, 0.30)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Metrics of one detector on one set of images; those of pixels are None where there were no maps."""

    image_auroc: float
    image_ap: float
    image_f1_max: float
    pixel_auroc: float | None
    au_pro_005: float | None
    au_pro_030: float | None


def evaluate(
    scores: Numbers,
    labels: Numbers,
    maps: Numbers | None = None,
    masks: Numbers | None = None,
    is_image: Numbers | None = None,
) -> Metrics:
    """Compute all metrics at once.

    Args:
        scores: float (n,), higher is more anomalous.
        labels: 0 or 1 (n,).
        maps: float (m, h, w), or None.
        masks: 0 or not 0, (m, h, w), at the maps' resolution; None where there are no maps.
        is_image: bool (m, h, w), False where there is padding, which counts for nothing; None if there is none.

    Raises:
        ValueError: as the single metrics, or only one of maps and masks is given.
    """
    if (maps is None) != (masks is None):
        raise ValueError("maps and masks are needed together, but only one of them was given")
    over_pixels: dict[str, float | None] = dict.fromkeys(("pixel_auroc", "au_pro_005", "au_pro_030"))
    if maps is not None and masks is not None:
        checked = _checked_maps(maps, masks, is_image)
        curve = _per_region_overlap(*checked, max(_AU_PRO_LIMITS))
        narrow, wide = (_normalised_area(*curve, limit) for limit in _AU_PRO_LIMITS)
        over_pixels = {"pixel_auroc": _pixel_auroc(*checked), "au_pro_005": narrow, "au_pro_030": wide}
    return Metrics(
        image_auroc=auroc(scores, labels),
        image_ap=average_precision(scores, labels),
        image_f1_max=f1_max(scores, labels),
        **over_pixels,
    )


def auroc(scores: Numbers, labels: Numbers) -> float:
    """Return the chance that an anomalous image scores above a normal one; a tie counts half (Mann-Whitney).

    Args:
        scores: float (n,), higher is more anomalous.
        labels: 0 or 1 (n,).

    Raises:
        ValueError: shapes differ, a score is NaN or infinite, a label is not 0 or 1, or a class is missing.
    """
    scores, is_anomalous = _checked_scores(scores, labels)
    return _auroc(scores[~is_anomalous], scores[is_anomalous])


def average_precision(scores: Numbers, labels: Numbers) -> float:
    """Precision averaged over recall, as a step function: sum of (R_k - R_{k-1}) P_k over thresholds.

    Args and raises: as `auroc`.
    """
    true, flagged, positives = _threshold_counts(*_checked_scores(scores, labels))
    return float((np.diff(true, prepend=0) * (true / flagged)).sum() / positives)


def f1_max(scores: Numbers, labels: Numbers) -> float:
    """Return the best F1 that any threshold reaches: 2 TP / (flagged + positives).

    Args and raises: as `auroc`.
    """
    true, flagged, positives = _threshold_counts(*_checked_scores(scores, labels))
    return float((2 * true / (flagged + positives)).max())


def pixel_auroc(maps: Numbers, masks: Numbers) -> float:
    """AUROC over all pixels of all maps.

    Args:
        maps: float (m, h, w), higher is more anomalous.
        masks: 0 (normal) or not 0 (anomalous), (m, h, w).

    Raises:
        ValueError: shapes differ, a map value is NaN or infinite, or all pixels are of one class.
    """
    return _pixel_auroc(*_checked_maps(maps, masks))


def au_pro(maps: Numbers, masks: Numbers, fpr_limit: float) -> float:
    """Area under the per-region overlap curve up to a false positive rate, divided by that rate.

    The overlap of a threshold is the part of a defect that is flagged, averaged over the 8-connected regions
    of all masks; the false positive rate is over all normal pixels, those of good images included
    (Bergmann et al. 2021, IJCV 129, section 5). Exact: one point of the curve per distinct score,
    trapezoids between them, linear interpolation at the limit. A constant map has `fpr_limit / 2`.

    Args:
        maps: float (m, h, w), higher is more anomalous.
        masks: 0 (normal) or not 0 (anomalous), (m, h, w).
        fpr_limit: above 0, at most 1; MVTec AD 2 uses 0.05, MVTec AD 0.30.

    Raises:
        ValueError: as `pixel_auroc`, or the limit is out of range.
    """
    if not 0 < fpr_limit <= 1:
        raise ValueError(f"fpr_limit is {fpr_limit}, but must be above 0 and at most 1")
    return _normalised_area(*_per_region_overlap(*_checked_maps(maps, masks), fpr_limit), fpr_limit)


def label_regions(is_anomalous: Numbers) -> tuple[Numbers, int]:
    """Return the regions that AU-PRO averages over: anomalous pixels of an image that touch, over corners as well.

    Args:
        is_anomalous: bool (m, h, w).

    Returns:
        Number of the region of each pixel, from 1, or 0 where it is in none, int (m, h, w); how many there are.
    """
    within_image = np.zeros((3, 3, 3), bool)
    within_image[1] = True  # 8 neighbours in the same image, none in the next one
    from scipy import ndimage  # costs a third of a second, which those who only name a metric need not pay

    regions, count = ndimage.label(is_anomalous, within_image)
    return regions, int(count)


def _pixel_auroc(maps: Numbers, is_normal: Numbers, is_anomalous: Numbers) -> float:
    return _auroc(maps[is_normal], maps[is_anomalous])


def _auroc(normal: Numbers, anomalous: Numbers) -> float:
    """Pairs won plus half of those tied, counted in whole numbers by search in the sorted normal scores."""
    ranked = np.sort(normal)
    anomalous = np.sort(anomalous)  # neighbours in value are neighbours in memory
    below = np.searchsorted(ranked, anomalous, side="left").sum(dtype=np.int64)
    not_above = np.searchsorted(ranked, anomalous, side="right").sum(dtype=np.int64)
    return (int(below) + int(not_above)) / (2 * len(ranked) * len(anomalous))


def _threshold_counts(scores: Numbers, is_anomalous: Numbers) -> tuple[Numbers, Numbers, int]:
    """Count true positives and flagged images for each distinct score from the highest down; and positives."""
    order = np.argsort(scores)[::-1]
    last = _last_of_ties(scores[order])
    true = np.cumsum(is_anomalous[order])[last]
    return true, last + 1, int(is_anomalous.sum())


def _per_region_overlap(
    maps: Numbers, is_normal: Numbers, is_anomalous: Numbers, fpr_limit: float
) -> tuple[Numbers, Numbers]:
    """Return the curve from (0, 0) to its first point at or beyond the limit: rates, mean overlaps, float64 (k,).

    Only pixels that score at least as much as the normal pixel at the limit matter: the rest is never sorted.
    """
    weight = _region_weights(is_anomalous)[is_anomalous]  # float64 (p,), sums to 1
    normal, anomalous = maps[is_normal], maps[is_anomalous]
    n_normal = len(normal)
    needed = min(int(np.ceil(fpr_limit * len(normal))), len(normal))
    lowest = np.partition(normal, len(normal) - needed)[len(normal) - needed]
    normal = normal[normal >= lowest]
    is_high = anomalous >= lowest
    scores = np.concatenate([normal, anomalous[is_high]])
    gain = np.concatenate([np.zeros(len(normal)), weight[is_high]])
    order = np.argsort(scores)[::-1]
    last = _last_of_ties(scores[order])
    false = np.cumsum(order < len(normal))[last]
    overlap = np.cumsum(gain[order])[last]
    rate = false / n_normal
    return np.concatenate([[0.0], rate]), np.concatenate([[0.0], np.minimum(overlap, 1.0)])


def _normalised_area(rate: Numbers, overlap: Numbers, limit: float) -> float:
    """Trapezoids under the curve from rate 0 to the limit, divided by the limit."""
    beyond = int(np.searchsorted(rate, limit, side="right"))
    if beyond < len(rate):
        share = (limit - rate[beyond - 1]) / (rate[beyond] - rate[beyond - 1])
        at_limit = overlap[beyond - 1] + share * (overlap[beyond] - overlap[beyond - 1])
        rate = np.append(rate[:beyond], limit)
        overlap = np.append(overlap[:beyond], at_limit)
    return float((np.diff(rate) * (overlap[1:] + overlap[:-1]) / 2).sum() / limit)


def _region_weights(is_anomalous: Numbers) -> Numbers:
    """1 / (area of its region x number of regions) for an anomalous pixel, else 0: float64 (m, h, w)."""
    regions, count = label_regions(is_anomalous)
    area = np.bincount(regions.ravel(), minlength=count + 1).astype(np.float64)
    weight = 1 / (np.maximum(area, 1) * count)
    weight[0] = 0
    weights: Numbers = weight[regions]
    return weights


def _last_of_ties(ordered: Numbers) -> Numbers:
    """Position of the last element of each run of equal values."""
    return np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)


def _checked_scores(scores: Numbers, labels: Numbers) -> tuple[Numbers, Numbers]:
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must be two lists of one length")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels must be 0 or 1, but are {np.unique(labels)[:5].tolist()}")
    _refuse_unusable(scores, "scores")
    return scores, _both_classes(labels.astype(bool), "images")


def _checked_maps(
    maps: Numbers, masks: Numbers, is_image: Numbers | None = None
) -> tuple[Numbers, Numbers, Numbers]:
    """Return the maps, and which of their pixels are normal and which anomalous: padding is neither."""
    maps, masks = np.asarray(maps), np.asarray(masks)
    if maps.ndim != 3 or maps.shape != masks.shape or (is_image is not None and is_image.shape != maps.shape):
        raise ValueError(f"maps {maps.shape} and masks {masks.shape} must both be (images, height, width)")
    _refuse_unusable(maps, "map values")
    is_anomalous = masks != 0
    if is_image is None:
        return maps, ~_both_classes(is_anomalous, "pixels"), is_anomalous
    _both_classes(is_anomalous[is_image], "pixels")
    return maps, ~is_anomalous & is_image, is_anomalous & is_image


def _refuse_unusable(values: Numbers, what: str) -> None:
    unusable = values.size - int(np.isfinite(values).sum())
    if unusable:
        raise ValueError(f"{unusable} of {values.size} {what} are NaN or infinite")


def _both_classes(is_anomalous: Numbers, what: str) -> Numbers:
    anomalous = int(is_anomalous.sum())
    if anomalous in (0, is_anomalous.size):
        raise ValueError(
            f"{anomalous} of {is_anomalous.size} {what} are anomalous: normal and anomalous ones are needed"
        )
    return is_anomalous
