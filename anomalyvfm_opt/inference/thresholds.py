"""Thresholds that say what they promise.

The k-th smallest of n scores of held-out normal scenes, k = ceil((n + 1)(1 - a)), is a threshold above which at
most a share a of new normal scenes lies, if these are like the held-out ones (exchangeable): split conformal
prediction (Vovk et al. 2005; Bates et al. 2023 for outliers). Nothing is assumed of the scores' distribution, and
none of the numbers comes from anomalous images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.evaluation.resample import draw_scene_counts
from anomalyvfm_opt.inference.card import BestF1, ThresholdsCard

USUAL_SHARE = 0.05  # of false positives, that is promised where no other is asked for

_DRAWS = 1000
_DRAWS_SEED = 20263
_INTERVAL = (0.025, 0.975)
_OFFERED = 10_000  # a share is offered rounded up to a part of so many, so that it can be promised
_DIGITS = 9  # that a product of a count and a share is rounded to, so that 20 x 0.95 is 19


@dataclass(frozen=True)
class NormalScenes:
    """n held-out normal scenes: of the images of a scene under several lights, the highest counts.

    Args:
        scores: float64 (n,).
        peaks: highest cell of their maps, float64 (n,).
    """

    scores: np.ndarray
    peaks: np.ndarray

    @classmethod
    def group(cls, scores: np.ndarray, peaks: np.ndarray, scenes: Sequence[str]) -> "NormalScenes":
        """Return the scenes of m images, whose scores and peaks are float (m,)."""
        names, of_image = np.unique(np.asarray(scenes), return_inverse=True)
        highest = []
        for values in (scores, peaks):
            by_scene = np.full(len(names), -np.inf)
            np.maximum.at(by_scene, of_image, values)
            highest.append(by_scene)
        return cls(*highest)

    def p_normal(self, score: float) -> float:
        """Return the conformal p-value: how likely a normal scene has such a score or a higher one, 0-1."""
        return float((1 + np.count_nonzero(self.scores >= score)) / (len(self.scores) + 1))


def check_share(false_positives: float) -> None:
    """See that a share of false positives is one.

    Raises:
        UsageError: it is not between 0 and 1.
    """
    if not 0 < false_positives < 1:
        raise UsageError(f"false positives of {false_positives:g} are no share between 0 and 1", "such as 0.05")


def find_rank(scenes: int, false_positives: float) -> int | None:
    """Return which of n scores, from the lowest, keeps to a share of false positives; None where none can."""
    rank = math.ceil(round((scenes + 1) * (1 - false_positives), _DIGITS))
    return rank if 1 <= rank <= scenes else None


def count_needed(false_positives: float) -> int:
    """Return the fewest normal scenes that can promise a share of false positives (0-1, both excluded)."""
    return math.ceil(round(1 / false_positives - 1, _DIGITS))


def describe_lack(scenes: int, false_positives: float) -> str:
    """Say why so many held-out normal scenes promise no such share of false positives, and which they can."""
    return (
        f"false positives of {false_positives:.3g} at most need {count_needed(false_positives)} held-out normal"
        f" scenes, and there are {scenes}, which can promise {math.ceil(_OFFERED / (scenes + 1)) / _OFFERED:g}"
    )


def set_thresholds(
    normal: NormalScenes, false_positives: float, best_f1: BestF1 | None, caveat: str = ""
) -> ThresholdsCard:
    """Return the thresholds of images and of pixels, or the reason why there are none.

    Args:
        normal: held-out scenes.
        false_positives: the share to promise, 0-1, both excluded.
        best_f1: the threshold on labelled images, to stand beside it.
        caveat: what weakens the promise.
    """
    count = len(normal.scores)
    rank = find_rank(count, false_positives)
    return ThresholdsCard(
        false_positives=false_positives,
        scenes=count,
        rank=rank,
        score=None if rank is None else float(np.sort(normal.scores)[rank - 1]),
        pixel=None if rank is None else float(np.sort(normal.peaks)[rank - 1]),
        refused="" if rank is not None else f"{describe_lack(count, false_positives)} (--false-positives)",
        caveat=caveat,
        best_f1=best_f1,
    )


def find_best_f1(scores: np.ndarray, labels: np.ndarray, scenes: Sequence[str]) -> BestF1 | None:
    """Return the threshold of best F1 with its interval over draws of whole scenes; None without both labels.

    Args:
        scores: float (n,).
        labels: int (n,), 1 for anomalous.
        scenes: n names.
    """
    bad = int(np.count_nonzero(labels))
    if bad in (0, len(labels)):
        return None
    drawn = draw_scene_counts(labels, scenes, _DRAWS, _DRAWS_SEED)
    counts = np.concatenate([np.ones((1, len(labels)), np.int64), drawn])  # the images as they are come first
    thresholds, f1 = _sweep(scores.astype(np.float64), labels, counts)
    low, high = np.quantile(thresholds[1:], _INTERVAL)
    return BestF1(
        threshold=float(thresholds[0]),
        f1=float(f1[0]),
        low=float(low),
        high=float(high),
        good=len(labels) - bad,
        bad=bad,
    )


def _sweep(scores: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the threshold of best F1 and that F1 in each draw: float64 (d,) of counts int (d, n)."""
    order = np.argsort(-scores, kind="stable")
    ranked, is_bad, drawn = scores[order], labels[order] == 1, counts[:, order]
    hits = np.cumsum(drawn * is_bad, axis=1)  # anomalous ones at or above each score
    alarms = np.cumsum(drawn, axis=1)
    f1 = 2 * hits / np.maximum(alarms + hits[:, -1:], 1)
    is_cut = np.append(ranked[:-1] > ranked[1:], True)  # equal scores are on one side
    best = np.where(is_cut, f1, -1.0).argmax(axis=1)
    below = np.append(ranked[1:], np.nextafter(ranked[-1], -np.inf))
    middle = (ranked + below) / 2
    thresholds = np.where(middle < ranked, middle, below)  # between neighbours there is no middle
    return thresholds[best], np.take_along_axis(f1, best[:, None], axis=1)[:, 0]
