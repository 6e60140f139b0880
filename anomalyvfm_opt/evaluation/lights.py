"""Where a gain comes from: the two arms under each light alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomalyvfm_opt.evaluation.resample import bootstrap_difference, mean_auroc

_LEAST_SCENES = 2  # per label: one says nothing of the spread
_BOUNDS = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True)
class LightGain:
    """A gain in mean AUROC (0-1) on the images of one light, finalist minus baseline.

    Args:
        estimate: the gain.
        low: lower bound of its 95 % interval, by the crossed bootstrap; it is a view and decides nothing.
        high: upper bound.
        good_scenes: normal scenes with an image under this light.
        bad_scenes: anomalous ones.
    """

    estimate: float
    low: float
    high: float
    good_scenes: int
    bad_scenes: int


def compare_lights(
    finalist: np.ndarray,
    baseline: np.ndarray,
    labels: np.ndarray,
    scenes: Sequence[str],
    lights: Sequence[str | None],
    draws: int,
    rng: np.random.Generator,
) -> dict[str, LightGain]:
    """Return the gain under each light.

    Args:
        finalist: float (s, n), the scores of its s models.
        baseline: float (r, n).
        labels: 0 or 1 (n,).
        scenes: n names.
        lights: of the n images; None where its name tells none, which is then left out.
        draws: of the bootstrap.
        rng: what they are drawn from.

    Returns:
        Light -> its gain, by name; lights with fewer than 2 scenes of a label are left out.
    """
    gains: dict[str, LightGain] = {}
    for light in sorted({light for light in lights if light is not None}):
        chosen = np.flatnonzero([other == light for other in lights])
        own_labels, own_scenes = labels[chosen], np.asarray(scenes)[chosen]
        good, bad = (len(set(own_scenes[own_labels == label])) for label in (0, 1))
        if min(good, bad) < _LEAST_SCENES:
            continue
        arms = finalist[:, chosen], baseline[:, chosen]
        estimate = float(mean_auroc(arms[0], own_labels).mean() - mean_auroc(arms[1], own_labels).mean())
        drawn = bootstrap_difference(*arms, own_labels, own_scenes.tolist(), draws, rng)
        low, high = (float(bound) for bound in np.quantile(drawn, _BOUNDS))
        gains[light] = LightGain(estimate=estimate, low=low, high=high, good_scenes=good, bad_scenes=bad)
    return gains
