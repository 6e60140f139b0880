"""A crossed bootstrap of a difference of two arms: the second view beside the t interval.

Scenes are drawn anew within each label, and seeds within each arm; every drawn model scores every drawn scene, as
in the data. Both arms see the same scenes (paired). Quantiles of few scenes are known to be too narrow: with 4-12
good scenes such an interval covers 0.91-0.95 where 0.95 is meant, so it does not decide.
"""

from collections.abc import Sequence

import numpy as np

from anomalyvfm_opt.evaluation.clustered import place_scores


def mean_auroc(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """AUROC of k scorers: float64 (k,)."""
    is_positive = labels == 1
    values: np.ndarray = place_scores(scores[:, is_positive], scores[:, ~is_positive]).mean(axis=1)
    return values


def draw_scene_counts(labels: np.ndarray, scenes: Sequence[str], draws: int, seed: int) -> np.ndarray:
    """Return how often each image counts in each draw: whole scenes are drawn with replacement within each label.

    A function of its arguments alone: models that score the same images on different hosts have the same draws, so
    that they can be paired. A scene of both labels counts as one of either.

    Args:
        labels: 0 or 1 (n,).
        scenes: n names.
        draws: how many.
        seed: of the draws.

    Returns:
        int64 (draws, n).
    """
    counts = np.empty((draws, len(labels)), dtype=np.int64)
    rng = np.random.default_rng(seed)
    for label in (0, 1):
        images = np.flatnonzero(np.asarray(labels) == label)
        of_image, members = _group(scenes, images)
        counts[:, images] = _draw(members, draws, rng)[:, of_image]
    return counts


def bootstrap_models(finalist: np.ndarray, baseline: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Differences of the arms' means in each draw of scenes, with seeds drawn anew within each arm.

    Args:
        finalist: float (s, draws), a metric of its s models in the same draws of scenes as the baseline's.
        baseline: float (r, draws).
        rng: what the seeds are drawn from.

    Returns:
        float64 (draws,), NaN where a value is; its quantiles are an interval.
    """
    means = []
    for arm in (finalist, baseline):
        drawn = rng.integers(len(arm), size=arm.shape)
        means.append(np.take_along_axis(arm, drawn, axis=0).mean(axis=0))
    difference: np.ndarray = means[0] - means[1]
    return difference


def bootstrap_difference(
    finalist: np.ndarray,
    baseline: np.ndarray,
    labels: np.ndarray,
    scenes: Sequence[str],
    draws: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Differences of the arms' mean AUROC in `draws` resamples.

    Args:
        finalist: float (s, n).
        baseline: float (r, n).
        labels: 0 or 1 (n,), both among them.
        scenes: n names; a scene has images of one label.
        draws: how many resamples.
        rng: what they are drawn from.

    Returns:
        float64 (draws,); its quantiles are an interval.
    """
    good, bad = (np.flatnonzero(np.asarray(labels) == label) for label in (0, 1))
    (of_good, good_sizes), (of_bad, bad_sizes) = (_group(scenes, images) for images in (good, bad))
    good_counts, bad_counts = (_draw(sizes, draws, rng) for sizes in (good_sizes, bad_sizes))
    pairs = (bad_counts @ bad_sizes) * (good_counts @ good_sizes)
    values = []
    for row in np.concatenate([finalist, baseline]):
        above = row[bad][:, None] - row[good]
        won = (np.sign(above) + 1) / 2  # of a pair of images; a tie is half
        by_scene = np.zeros((len(bad_sizes), len(good_sizes)))
        np.add.at(by_scene, (of_bad[:, None], of_good), won)
        values.append(((bad_counts @ by_scene) * good_counts).sum(axis=1) / pairs)
    return bootstrap_models(np.array(values[: len(finalist)]), np.array(values[len(finalist) :]), rng)


def _group(scenes: Sequence[str], images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scene of each image, numbered in the order of names, and how many images each scene has."""
    _, of_image, sizes = np.unique(np.asarray(scenes)[images], return_inverse=True, return_counts=True)
    return of_image, sizes


def _draw(sizes: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draw as many scenes as there are, with replacement: how often each is drawn, int64 (draws, scenes)."""
    scenes = len(sizes)
    drawn = rng.integers(scenes, size=(draws, scenes)) if scenes else np.empty((draws, 0), dtype=np.int64)
    numbered = drawn + scenes * np.arange(draws)[:, None]
    counts: np.ndarray = np.bincount(numbered.ravel(), minlength=draws * scenes).reshape(draws, scenes)
    return counts
