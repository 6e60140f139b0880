"""Is one arm better than another? The difference of two mean AUROC, with scenes and seeds as what varies.

An arm is a set of parameters, retrained with S seeds. Two things would come out otherwise in a repetition: which
scenes were photographed, and which seeds were drawn. Seeds are crossed with scenes, not nested in them: every
model scores the same images. So the variance has

- a scene part: the covariance of all 2 S AUROC over clusters (Obuchowski 1997, see evaluation/clustered.py), of
  which the difference of means is a contrast;
- a seed part of each arm: the variance between its seeds' AUROC, divided by S.

The seed part also holds what seeds and scenes do together, which the scene part holds as well: the interval is a
little too wide rather than too narrow. Degrees of freedom are Satterthwaite's (1946).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from anomalyvfm_opt.evaluation.clustered import ClusteredAuroc, auroc_variance, estimate_auroc
from anomalyvfm_opt.evaluation.student import student_quantile

CORRELATION = 0.9  # of two detectors on the same images; fits the simulated intervals in docs/method.md

Source = Literal["scenes", "seeds"]


@dataclass(frozen=True)
class Part:
    """A part of a variance, the degrees of freedom that it was estimated with, and what more of would shrink it.

    The degrees of freedom are one less than the scenes of the rarer label, or than the seeds of an arm.
    """

    variance: float
    freedom: float
    source: Source


@dataclass(frozen=True)
class Difference:
    """A gain in AUROC (0-1), finalist minus baseline, and what its variance is made of."""

    estimate: float
    parts: tuple[Part, ...]

    @property
    def error(self) -> float:
        """Return the standard error of the estimate."""
        return math.sqrt(sum(part.variance for part in self.parts))

    @property
    def freedom(self) -> float:
        """Return Satterthwaite's degrees of freedom of the standard error."""
        total = sum(part.variance for part in self.parts)
        spread = sum(part.variance**2 / part.freedom for part in self.parts)
        return total**2 / spread if spread > 0 else math.inf

    def interval(self, confidence: float, judged: int = 1) -> tuple[float, float]:
        """Return the two-sided t interval (low, high) of the gain.

        Args:
            confidence: that it holds the true gain, 0-1, of all intervals that are judged together.
            judged: how many these are; the level is divided by them (Bonferroni).
        """
        quantile = float(student_quantile(1 - (1 - confidence) / 2 / judged, self.freedom))
        return self.estimate - quantile * self.error, self.estimate + quantile * self.error


def compare_arms(
    finalist: np.ndarray, baseline: np.ndarray, labels: np.ndarray, scenes: Sequence[str]
) -> Difference | None:
    """Compare two arms by their mean AUROC on the same images.

    Args:
        finalist: float (s, n), the scores of its s models, higher is more anomalous.
        baseline: float (r, n); one row for an arm without seeds.
        labels: 0 or 1 (n,).
        scenes: n names.

    Returns:
        None if a label has fewer than 2 scenes: nothing can be said of their spread.
    """
    found = estimate_auroc(np.concatenate([finalist, baseline]), labels, scenes)
    if found is None:
        return None
    s, r = len(finalist), len(baseline)
    contrast = np.concatenate([np.full(s, 1 / s), np.full(r, -1 / r)])
    scene = max(float(contrast @ found.covariance @ contrast), _least_variance(found))
    freedom = min(found.positive_clusters, found.negative_clusters) - 1
    seeds = [_judge_seeds(values) for values in (found.values[:s], found.values[s:]) if len(values) > 1]
    return Difference(float(contrast @ found.values), (Part(scene, freedom, "scenes"), *seeds))


def average(differences: Sequence[Difference]) -> Difference:
    """Return the mean gain over categories, whose images and seeds have nothing to do with each other."""
    n = len(differences)
    parts = [replace(part, variance=part.variance / n**2) for each in differences for part in each.parts]
    return Difference(math.fsum(difference.estimate for difference in differences) / n, tuple(parts))


def _least_variance(found: ClusteredAuroc) -> float:
    """Return the variance that is left where both arms order all images alike, and the estimate says 0.

    That of the difference of two AUROC half a pair of scenes away from 1, as alike as two detectors are.
    """
    scenes = found.positive_clusters, found.negative_clusters
    return 2 * (1 - CORRELATION) * auroc_variance(1 - 0.5 / math.prod(scenes), *scenes)


def _judge_seeds(values: np.ndarray) -> Part:
    return Part(float(np.var(values, ddof=1)) / len(values), len(values) - 1, "seeds")
