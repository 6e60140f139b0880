"""Check that the adapter did something: its update has a size, and it changes the order of images."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from anomalyvfm_opt.evaluation.linter.findings import Finding, Severity
from anomalyvfm_opt.evaluation.scorer_bank import Scores
from anomalyvfm_opt.evaluation.scorers import SCORERS

_LEAST_UPDATE = 1e-5  # of the weight's norm
_LEAST_CHANGE = 1e-5  # of the pooled features' norm
_MAPS_FIRST = sorted(SCORERS, key=lambda scorer: not scorer.has_map)
_TRAINING_FREE = [scorer.name for scorer in _MAPS_FIRST if scorer.is_training_free]


@dataclass(frozen=True)
class View:
    """How a detector sees the m images of a probe, by scorers that nothing was trained for."""

    pooled: Tensor  # (m, d)
    scores: Scores


def check_adapter(updates: dict[str, float], adapted: View, frozen: View) -> list[Finding]:
    """`idle_adapter`: the update is next to nothing, or no pair of the probe's images changed places.

    Args:
        updates: of `Adapter.measure_updates`; where it is empty, the change of the pooled features speaks.
        adapted: the probe as the trial's detector sees it.
        frozen: the same images as the frozen network sees them.
    """
    change = float((adapted.pooled - frozen.pooled).norm() / frozen.pooled.norm().clamp_min(1e-12))
    flipped = {
        name: _count_flips(adapted.scores.image[name], frozen.scores.image[name]) for name in _TRAINING_FREE
    }
    largest = max(updates.values(), default=None)
    if largest is not None and largest < _LEAST_UPDATE:
        what = f"the largest update of an adapted layer is {largest:.2g} of its weight (limit {_LEAST_UPDATE:g})"
    elif change < _LEAST_CHANGE:
        what = f"the adapter changes the pooled features by {change:.2g} of their norm (limit {_LEAST_CHANGE:g})"
    elif not any(flipped.values()):
        m = len(adapted.pooled)
        what = f"by {' and '.join(flipped)}, 0 of the {m * (m - 1) // 2} pairs of {m} images changed places"
    else:
        return []
    message = f"{what}, so this is the frozen network: search larger learning rates, alphas or more epochs"
    return [Finding("idle_adapter", Severity.DOUBTFUL, message)]


def _count_flips(ours: np.ndarray, theirs: np.ndarray) -> int:
    """Pairs of images that two scorers (m,) rank the other way round; a tie is no flip."""
    signs = [np.sign(scores[:, None] - scores[None, :]) for scores in (ours, theirs)]
    return int((signs[0] * signs[1] < 0).sum()) // 2
