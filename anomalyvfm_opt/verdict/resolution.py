"""How small a gain the locked images could show: asked before GPU hours are spent.

An estimate, not a measurement: the variance of an AUROC is that of Hanley and McNeil (1982) with scenes in place
of images (more lights of a sample add no sample), that of a difference follows from how alike two detectors rank
the same images, and the seeds of both arms come on top. The degrees of freedom are Satterthwaite's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from anomalyvfm_opt.evaluation.clustered import auroc_variance

MIN_GAIN = 0.01  # what a verdict asks for at least (AUROC)
SEEDS = 5  # retrainings of each arm in a confirmation
CONFIDENCE = 0.95
POWER = 0.8  # the chance that a gain of the size named is found

_AUROC = 0.75  # of a sound untuned detector on MVTec AD 2
CORRELATION = 0.9  # of two detectors on the same images; fits the simulated intervals in docs/method.md
_SEED_SD = 0.02  # of the image AUROC of one arm; 0.009-0.03 on MVTec AD 2


@dataclass(frozen=True)
class Resolution:
    """What a confirmation on a number of scenes could tell apart.

    Args:
        good_scenes: locked scenes without a defect.
        bad_scenes: locked scenes with one.
        half_width: of the interval on the difference of two AUROC.
        smallest_gain: the least true gain (AUROC) that would be adopted with the chance `POWER`.
    """

    good_scenes: int
    bad_scenes: int
    half_width: float
    smallest_gain: float


def resolve(good_scenes: int, bad_scenes: int, categories: int = 1) -> Resolution | None:
    """The resolution of one category.

    Args:
        good_scenes: locked scenes without a defect.
        bad_scenes: locked scenes with one.
        categories: that are judged together; the level is divided by them (Bonferroni).

    Returns:
        None with fewer than 2 scenes of a label: nothing can be said of their spread.
    """
    if min(good_scenes, bad_scenes) < 2:
        return None
    parts = _list_parts(good_scenes, bad_scenes)
    return Resolution(good_scenes, bad_scenes, *_widths(parts, 1, categories))


def resolve_mean(scenes: Sequence[tuple[int, int]]) -> Resolution | None:
    """The resolution of the mean gain over categories, a verdict's primary question.

    Args:
        scenes: good and bad locked scenes of each category.

    Returns:
        None if there is no category, or one has fewer than 2 scenes of a label.
    """
    if not scenes or min(map(min, scenes)) < 2:
        return None
    parts = [part for good, bad in scenes for part in _list_parts(good, bad)]
    totals = (sum(good for good, _ in scenes), sum(bad for _, bad in scenes))
    return Resolution(*totals, *_widths(parts, len(scenes), 1))


def _list_parts(good_scenes: int, bad_scenes: int) -> list[tuple[float, int]]:
    """Variance and degrees of freedom of what a difference is made of: scenes and seeds."""
    scenes = 2 * (1 - CORRELATION) * auroc_variance(_AUROC, bad_scenes, good_scenes)
    return [(scenes, min(good_scenes, bad_scenes) - 1), (2 * _SEED_SD**2 / SEEDS, 2 * (SEEDS - 1))]


def _widths(parts: Sequence[tuple[float, int]], averaged: int, judged: int) -> tuple[float, float]:
    """Half-width and smallest gain of a mean over `averaged` categories, `judged` of which are judged at once."""
    from scipy import stats

    variance = sum(value for value, _ in parts)
    freedom = variance**2 / sum(value**2 / df for value, df in parts)
    error = math.sqrt(variance) / averaged
    half_width = float(stats.t.ppf(1 - (1 - CONFIDENCE) / 2 / judged, freedom)) * error
    return half_width, MIN_GAIN + half_width + float(stats.t.ppf(POWER, freedom)) * error
