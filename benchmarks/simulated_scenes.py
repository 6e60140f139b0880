"""Scores of two arms on simulated scenes: several lights a scene, the same models on all of them, known effects.

A score is the label's separation, plus what all of these have of their own: the scene, the scene as an arm sees
it, the image, the image as an arm sees it, the scene as one model sees it, and the image as one model sees it. The
variances add up to 1. A model's seed moves its separation. So the true AUROC of an arm, over scenes and seeds, is
that of two normal distributions, and an arm's separation follows from it.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

# Shares of the variance: scene, scene x arm, image, image x arm, scene x model, image x model. The last two are
# small, so that the AUROC of an arm's models on one data set differ by little more than their seeds' SD.
_SHARES = (0.55, 0.08, 0.25, 0.08, 0.01, 0.03)


@dataclass(frozen=True)
class Category:
    """What one category has.

    Args:
        good_scenes, bad_scenes: scenes of each label.
        lights: images of a scene.
    """

    good_scenes: int
    bad_scenes: int
    lights: int


@dataclass(frozen=True)
class Sample:
    """One data set of a category.

    Args:
        finalist, baseline: float (seeds, n).
        labels: int (n,).
        scenes: n names.
    """

    finalist: np.ndarray
    baseline: np.ndarray
    labels: np.ndarray
    scenes: list[str]


def find_separation(auroc: float, seed_spread: float) -> float:
    """The separation of the labels that gives an AUROC, over scenes and seeds."""
    return float(stats.norm.ppf(auroc)) * math.sqrt(2 + seed_spread**2)


def find_seed_spread(seed_sd: float, auroc: float) -> float:
    """The SD of a separation that moves the AUROC by `seed_sd`, near `auroc`."""
    slope = float(stats.norm.pdf(stats.norm.ppf(auroc))) / math.sqrt(2)
    return seed_sd / slope


def draw_sample(
    category: Category, aurocs: tuple[float, float], seeds: int, seed_sd: float, rng: np.random.Generator
) -> Sample:
    """A data set.

    Args:
        category: its sizes.
        aurocs: true AUROC of finalist and baseline.
        seeds: models of each arm.
        seed_sd: of an arm's AUROC from seed to seed.
        rng: what is drawn from.
    """
    n_scenes = category.good_scenes + category.bad_scenes
    of_image = np.repeat(np.arange(n_scenes), category.lights)
    labels = (of_image >= category.good_scenes).astype(int)
    scene, scene_arm, image, image_arm, scene_model, image_model = map(math.sqrt, _SHARES)
    n = len(labels)
    shared = scene * rng.normal(size=n_scenes)[of_image] + image * rng.normal(size=n)
    arms = []
    for auroc in aurocs:
        spread = find_seed_spread(seed_sd, auroc)
        of_arm = shared + scene_arm * rng.normal(size=n_scenes)[of_image] + image_arm * rng.normal(size=n)
        separations = find_separation(auroc, spread) + spread * rng.normal(size=(seeds, 1))
        of_models = scene_model * rng.normal(size=(seeds, n_scenes))[:, of_image]
        arms.append(of_arm + separations * labels + of_models + image_model * rng.normal(size=(seeds, n)))
    return Sample(arms[0], arms[1], labels, [str(number) for number in of_image])
