"""The variance of an AUROC whose images come in clusters: several lights of a scene, anomalies made of one image.

Obuchowski (1997), "Nonparametric analysis of clustered ROC curve data", Biometrics 53, 567-578. With one image a
cluster it is the variance of DeLong et al. (1988). More images of the same clusters do not shrink it: the
clusters count, not the images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomalyvfm_opt.evaluation.student import student_quantile


@dataclass(frozen=True, kw_only=True)
class ClusteredAuroc:
    """AUROC of k scorers on the same images, with how they vary together from sample to sample.

    Args:
        values: float64 (k,).
        covariance: float64 (k, k); the variance of a difference of two is a contrast of it.
        positive_clusters: that hold an anomalous image.
        negative_clusters: that hold a normal one; a cluster may hold both.
    """

    values: np.ndarray
    covariance: np.ndarray
    positive_clusters: int
    negative_clusters: int

    def interval(self, index: int, confidence: float) -> tuple[float, float]:
        """Return a two-sided t interval for one of the AUROC, clipped to 0-1.

        Where the scores separate the labels the estimated variance is 0, which says nothing. So it is at least
        that of Hanley and McNeil for an AUROC half a pair of clusters away from 0 or 1.
        """
        value = float(self.values[index])
        pairs = self.positive_clusters * self.negative_clusters
        inside = min(max(value, 0.5 / pairs), 1 - 0.5 / pairs)
        least = auroc_variance(inside, self.positive_clusters, self.negative_clusters) if inside != value else 0.0
        error = math.sqrt(max(float(self.covariance[index, index]), least))
        freedom = min(self.positive_clusters, self.negative_clusters) - 1
        half_width = float(student_quantile((1 + confidence) / 2, freedom)) * error
        return max(0.0, value - half_width), min(1.0, value + half_width)


def estimate_auroc(scores: np.ndarray, labels: np.ndarray, clusters: Sequence[str]) -> ClusteredAuroc | None:
    """AUROC of k scorers and their covariance.

    The placement of an image is the share of the other label's images that it is on the right side of. Deviations
    from the AUROC are summed by cluster, and the sums' squares and products give S10 (anomalous images), S01
    (normal ones) and S11 (clusters that hold both).

    Args:
        scores: float (k, n), higher is more anomalous, finite.
        labels: 0 or 1 (n,).
        clusters: n names.

    Returns:
        None if a label has fewer than 2 clusters: nothing can be said of their spread.
    """
    is_positive = np.asarray(labels) == 1
    _, of_image = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(of_image.max(initial=-1)) + 1
    positives, negatives = _count(of_image, is_positive, count), _count(of_image, ~is_positive, count)
    n_positive, n_negative = int((positives > 0).sum()), int((negatives > 0).sum())
    if min(n_positive, n_negative) < 2:
        return None
    above = place_scores(scores[:, is_positive], scores[:, ~is_positive])  # (k, p)
    below = 1 - place_scores(scores[:, ~is_positive], scores[:, is_positive])  # (k, q)
    values = above.mean(axis=1)
    x = _sum_by(of_image[is_positive], above - values[:, None], count)  # (k, clusters)
    y = _sum_by(of_image[~is_positive], below - values[:, None], count)
    p, q = positives.sum(), negatives.sum()
    s10 = n_positive / (n_positive - 1) * (x @ x.T) / p**2
    s01 = n_negative / (n_negative - 1) * (y @ y.T) / q**2
    s11 = count / (count - 1) * (x @ y.T) / (p * q)
    return ClusteredAuroc(
        values=values,
        covariance=s10 + s01 + s11 + s11.T,
        positive_clusters=n_positive,
        negative_clusters=n_negative,
    )


def auroc_variance(auroc: float, positives: int, negatives: int) -> float:
    """Variance of an AUROC of independent samples (Hanley and McNeil 1982, exponential scores)."""
    a, q1, q2 = auroc, auroc / (2 - auroc), 2 * auroc * auroc / (1 + auroc)
    spread = a * (1 - a) + (positives - 1) * (q1 - a * a) + (negatives - 1) * (q2 - a * a)
    return spread / (positives * negatives)


def chance_variance(positives: int, negatives: int) -> float:
    """Variance of the AUROC of independent samples that scores do not tell apart (Mann and Whitney 1947)."""
    return (positives + negatives + 1) / (12 * positives * negatives)


def place_scores(ours: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the share of `others` (k, q) below each of `ours` (k, p), ties counted half: float64 (k, p)."""
    shares = np.empty(ours.shape)
    for row, mine, theirs in zip(shares, ours, np.sort(others, axis=1), strict=True):
        row[:] = (np.searchsorted(theirs, mine, "left") + np.searchsorted(theirs, mine, "right")) / 2
    placed: np.ndarray = shares / others.shape[1]
    return placed


def _count(of_image: np.ndarray, is_chosen: np.ndarray, count: int) -> np.ndarray:
    counts: np.ndarray = np.bincount(of_image[is_chosen], minlength=count)
    return counts


def _sum_by(of_image: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Sums of values (k, n) by cluster: (k, count)."""
    return np.stack([np.bincount(of_image, weights=row, minlength=count) for row in values])
