"""Checks of a trial's scores: not finite, constant, inverted."""

import math
from collections.abc import Sequence

import numpy as np

from anomalyvfm_opt.evaluation.clustered import chance_variance, estimate_auroc
from anomalyvfm_opt.evaluation.linter.findings import Finding, Severity
from anomalyvfm_opt.evaluation.scorer_bank import Scores

FALSE_ALARMS = 0.01  # chance that a trial whose scorers all guess is called inverted
_SAME_SHARE = 0.9  # of the images
_SAME_WIDTH = 1e-6  # of the largest score: float32 cannot tell more apart


def check_finite(scores: Scores) -> list[Finding]:
    """`not_finite`: a score or a map of a scorer that is NaN or infinite."""
    found = []
    for what, by_scorer in (("scores", scores.image), ("maps", scores.maps)):
        for name, values in by_scorer.items():
            bad = int((~np.isfinite(values.reshape(len(values), -1)).all(axis=1)).sum())
            if bad:
                message = (
                    f"{what} of {name} are not finite for {bad} of {len(values)} images; 0 are allowed:"
                    " search smaller learning rates"
                )
                found.append(Finding("not_finite", Severity.BROKEN, message))
    return found


def check_constant(scores: Scores) -> list[Finding]:
    """`constant_scores`: nearly all images have the same score."""
    found = []
    for name, values in scores.image.items():
        share = _share_of_same(values)
        if share >= _SAME_SHARE:
            message = (
                f"{name} gives {share:.0%} of the {len(values)} images the same score (limit {_SAME_SHARE:.0%}),"
                " so it tells nothing apart: do not choose it as the objective"
            )
            found.append(Finding("constant_scores", Severity.DOUBTFUL, message))
    return found


def check_inverted(scores: Scores, labels: np.ndarray, clusters: Sequence[str]) -> list[Finding]:
    """`inverted`: a scorer's image AUROC is below 0.5 beyond its interval.

    Its level is `FALSE_ALARMS` divided by the number of scorers (Bonferroni), one-sided. On few scenes a variance
    that was estimated may be small by luck, so an AUROC must also be further below 0.5 than guessing gets with as
    many scenes.
    """
    names = list(scores.image)
    estimate = estimate_auroc(np.stack([scores.image[name] for name in names]), labels, clusters)
    if estimate is None:
        return []
    from scipy import stats

    level = FALSE_ALARMS / len(names)
    scenes = (estimate.positive_clusters, estimate.negative_clusters)
    guessing = float(stats.norm.ppf(1 - level)) * math.sqrt(chance_variance(*scenes))
    found = []
    for index, name in enumerate(names):
        value = float(estimate.values[index])
        high = max(estimate.interval(index, 1 - 2 * level)[1], value + guessing)
        if high < 0.5:
            message = (
                f"image AUROC of {name} is {value:.4f}, at most {high:.4f} with {100 * (1 - level):.1f}%"
                f" confidence ({scenes[0]} anomalous, {scenes[1]} normal scenes), so below 0.5: it ranks anomalous"
                " images as normal; take another scorer as the objective, or see whether the labels are swapped"
            )
            found.append(Finding("inverted", Severity.DOUBTFUL, message))
    return found


def _share_of_same(values: np.ndarray) -> float:
    """Return the largest share of values (n,) that lie within `_SAME_WIDTH` of the largest of them."""
    ordered = np.sort(values)
    ends = np.searchsorted(ordered, ordered + _SAME_WIDTH * np.abs(ordered).max(), "right")
    return float((ends - np.arange(len(ordered))).max()) / len(ordered)
