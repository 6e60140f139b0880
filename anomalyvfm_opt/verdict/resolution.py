"""How small a gain the locked images could show: asked before GPU hours are spent.

An estimate, not a measurement: the variance of an AUROC is that of Hanley and McNeil (1982) with scenes in place
of images (more lights of a sample add no sample), that of a difference follows from how alike two detectors rank
the same images, and the seeds of both arms come on top: by their measured SD where there is one, else an assumed
one. The degrees of freedom are Satterthwaite's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anomalyvfm_opt.evaluation.clustered import auroc_variance
from anomalyvfm_opt.evaluation.student import student_quantile
from anomalyvfm_opt.verdict.compare import CORRELATION, Difference, Part, average

MIN_GAIN = 0.01  # what a verdict asks for at least (AUROC)
SEEDS = 5  # retrainings of each arm in a confirmation
CONFIDENCE = 0.95
POWER = 0.8  # the chance that a gain of the size named is found

ASSUMED_AUROC = 0.75  # of a sound untuned detector on MVTec AD 2
SEED_SD = 0.02  # of the image AUROC of one arm; 0.009-0.03 on MVTec AD 2


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


@dataclass(frozen=True)
class Resolutions:
    """What a verdict on the studies of a spec could show.

    Args:
        judged: categories that are judged together.
        each: category -> what its own verdict could show; None where nothing can be said.
        mean: over all of them, which decides first; None where one has no study, or nothing can be said.
    """

    judged: int
    each: Mapping[str, Resolution | None]
    mean: Resolution | None

    @property
    def is_whole(self) -> bool:
        """Whether all categories that are judged are among them, so that there is a mean."""
        return len(self.each) == self.judged


def resolve(
    good_scenes: int,
    bad_scenes: int,
    categories: int = 1,
    *,
    seed_sd: float | None = None,
    seeds: int = SEEDS,
    min_gain: float = MIN_GAIN,
    confidence: float = CONFIDENCE,
) -> Resolution | None:
    """Estimate the resolution of one category.

    Args:
        good_scenes: locked scenes without a defect.
        bad_scenes: locked scenes with one.
        categories: that are judged together; the level is divided by them (Bonferroni).
        seed_sd: of the AUROC of one arm from seed to seed, as measured; None: `SEED_SD`.
        seeds: retrainings of each arm.
        min_gain: what the verdict asks for at least (AUROC).
        confidence: of the interval, 0-1.

    Returns:
        None with fewer than 2 scenes of a label, or 2 seeds: nothing can be said of their spread.
    """
    if min(good_scenes, bad_scenes, seeds) < 2:
        return None
    difference = assume_difference(good_scenes, bad_scenes, seed_sd=seed_sd, seeds=seeds)
    half_width, smallest = find_widths(difference, categories, min_gain=min_gain, confidence=confidence)
    return Resolution(
        good_scenes=good_scenes, bad_scenes=bad_scenes, half_width=half_width, smallest_gain=smallest
    )


def resolve_mean(
    scenes: Sequence[tuple[int, int]],
    *,
    seed_sd: Sequence[float | None] | None = None,
    seeds: int = SEEDS,
    min_gain: float = MIN_GAIN,
    confidence: float = CONFIDENCE,
) -> Resolution | None:
    """Estimate the resolution of the mean gain over categories, a verdict's primary question.

    Args:
        scenes: good and bad locked scenes of each category.
        seed_sd: one a category, see `resolve`; None stands for `SEED_SD`, also in place of one of them.
        seeds: retrainings of each arm.
        min_gain: what the verdict asks for at least (AUROC).
        confidence: of the interval, 0-1.

    Returns:
        None if there is no category, one has fewer than 2 scenes of a label, or there are fewer than 2 seeds.
    """
    if not scenes or min(min(map(min, scenes)), seeds) < 2:
        return None
    measured = seed_sd if seed_sd is not None else [None] * len(scenes)
    mean = average(
        [
            assume_difference(good, bad, seed_sd=sd, seeds=seeds)
            for (good, bad), sd in zip(scenes, measured, strict=True)
        ]
    )
    half_width, smallest = find_widths(mean, 1, min_gain=min_gain, confidence=confidence)
    return Resolution(
        good_scenes=sum(good for good, _ in scenes),
        bad_scenes=sum(bad for _, bad in scenes),
        half_width=half_width,
        smallest_gain=smallest,
    )


def resolve_studies(
    scenes: Mapping[str, tuple[int, int]],
    judged: int,
    *,
    seeds: int = SEEDS,
    min_gain: float = MIN_GAIN,
    confidence: float = CONFIDENCE,
) -> Resolutions:
    """Estimate what a verdict on the studies of a spec could show, as it will be judged.

    Args:
        scenes: category -> good and bad locked scenes.
        judged: categories of the spec, also those without a study: a mean over some would be a choice.
        seeds: retrainings of each arm.
        min_gain: what the verdict asks for at least (AUROC).
        confidence: of all intervals together, 0-1.
    """
    mean = None
    if len(scenes) == judged:
        mean = resolve_mean(list(scenes.values()), seeds=seeds, min_gain=min_gain, confidence=confidence)
    return Resolutions(
        judged=judged,
        each={
            category: resolve(*counts, judged, seeds=seeds, min_gain=min_gain, confidence=confidence)
            for category, counts in scenes.items()
        },
        mean=mean,
    )


def assume_difference(
    good_scenes: int,
    bad_scenes: int,
    *,
    estimate: float = 0.0,
    auroc: float = ASSUMED_AUROC,
    correlation: float = CORRELATION,
    seed_sd: float | None = None,
    seeds: int = SEEDS,
) -> Difference:
    """Return a difference of two arms with the variance that it may be expected to have.

    Args:
        good_scenes: without a defect, at least 2.
        bad_scenes: with one, at least 2.
        estimate: of the gain (AUROC).
        auroc: of both arms, about.
        correlation: of their AUROC on the same images.
        seed_sd: of the AUROC of one arm from seed to seed; None: `SEED_SD`.
        seeds: retrainings of each arm. One measures no spread: the SD is then taken as known.
    """
    scenes = 2 * (1 - correlation) * auroc_variance(auroc, bad_scenes, good_scenes)
    sd = SEED_SD if seed_sd is None else seed_sd
    arm = Part(sd**2 / seeds, seeds - 1 if seeds > 1 else math.inf, "seeds")
    return Difference(estimate, (Part(scenes, min(good_scenes, bad_scenes) - 1, "scenes"), arm, arm))


def find_widths(difference: Difference, judged: int, *, min_gain: float, confidence: float) -> tuple[float, float]:
    """Return the half-width, and the least true gain that is adopted with the chance `POWER`.

    Args:
        difference: whose estimate plays no part.
        judged: how many are judged at once (Bonferroni).
        min_gain: what the lower bound has to exceed (AUROC).
        confidence: of all intervals together, 0-1.
    """
    low, high = difference.interval(confidence, judged)
    half_width = (high - low) / 2
    return half_width, min_gain + half_width + float(
        student_quantile(POWER, difference.freedom)
    ) * difference.error
