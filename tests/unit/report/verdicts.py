"""A verdict whose numbers can be worked out by hand."""

from dataclasses import replace

import numpy as np

from anomalyvfm_opt.verdict.decide import Ruling
from anomalyvfm_opt.verdict.judge import CategoryVerdict, judge
from tests.unit.verdict.cases import make_case, make_images

ADOPTED = Ruling(
    verdict="ADOPT",
    reason="gain",
    action="adopt the finalist; so it is",
    estimate=0.15,
    low=0.05,
    high=0.25,
    confidence=0.95,
    judged=1,
)


def lose_scenes(count: int) -> np.ndarray:
    """Scores (20,) by which so many of the ten anomalous images lie below all normal ones, the others above."""
    scores = make_images().labels.astype(np.float64)
    scores[:count] = -1.0
    return scores


def make_verdict() -> CategoryVerdict:
    """AUROC of 1.0 and 1.0 against 0.9 and 0.8, retrainings of 3 s against 2 s, and a ruling that is set."""
    case = make_case(
        np.stack([lose_scenes(0), lose_scenes(0)]),
        np.stack([lose_scenes(1), lose_scenes(2)]),
        seconds=(3.0, 2.0),
    )
    return replace(judge(case), ruling=ADOPTED)
