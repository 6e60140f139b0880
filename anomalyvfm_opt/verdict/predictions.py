"""The ledger of predictions: what was promised before, beside what was confirmed after.

A rule that promises gains is worth what its promises were worth so far. Anything may make them: a rule by category
as in the first experiment, the best trial of a search, an engineer.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ROUNDING = 1e-9  # of a difference of means that are equal
RULE = "v1.2 rule"  # the source of the first experiment's predictions

# change of image AUROC over its baseline; also where the rule's setting is v1.1's (can, sheet_metal, wallplugs)
RULE_PREDICTIONS: Mapping[str, float] = {
    "fruit_jelly": 0.0334,
    "fabric": -0.0012,
    "can": 0.0060,
    "sheet_metal": 0.0070,
    "vial": -0.0019,
    "wallplugs": 0.0013,
    "walnuts": 0.0159,
}


@dataclass(frozen=True)
class Prediction:
    """A change of AUROC that somebody or something promised before the confirmation.

    Args:
        source: who or what made it.
        gain: finalist minus baseline (AUROC); a loss is below 0.
        note: whatever helps to read it later.
    """

    source: str
    gain: float
    note: str = ""


@dataclass(frozen=True)
class Judged:
    """A prediction, and what a confirmation found.

    Args:
        prediction: what was promised.
        confirmed: the estimate of the gain (AUROC).
        low: the lower bound of its interval.
        high: the upper one.
    """

    prediction: Prediction
    confirmed: float
    low: float
    high: float

    @property
    def is_direction_right(self) -> bool:
        """Tell whether a gain was promised and is one, or none was and is none: no change counts as no gain."""
        return (self.confirmed > _ROUNDING) == (self.prediction.gain > _ROUNDING)

    @property
    def is_size_reached(self) -> bool:
        """Tell whether it came out at least as good as promised."""
        return self.confirmed >= self.prediction.gain - _ROUNDING

    @property
    def held(self) -> bool:
        """Tell whether direction and size came true."""
        return self.is_direction_right and self.is_size_reached

    @property
    def is_inside(self) -> bool:
        """Tell whether the interval allows it. A wide one contradicts little, so this proves little."""
        return self.low <= self.prediction.gain <= self.high


@dataclass(frozen=True)
class SourceRecord:
    """How good the predictions of one source were.

    Args:
        source: who or what made them.
        n: how many were judged.
        directions_right: how many of them.
        sizes_reached: how many came out at least as good.
        held: both.
        inside: how many the intervals do not contradict.
        mean_predicted: change of AUROC.
        mean_confirmed: change of AUROC.
        mean_error: predicted minus confirmed: above 0, it promises too much.
    """

    source: str
    n: int
    directions_right: int
    sizes_reached: int
    held: int
    inside: int
    mean_predicted: float
    mean_confirmed: float
    mean_error: float


def calibrate(judged: Sequence[Judged]) -> list[SourceRecord]:
    """Return the record of each source, in the order in which they first appear."""
    by_source: dict[str, list[Judged]] = {}
    for one in judged:
        by_source.setdefault(one.prediction.source, []).append(one)
    return [_record(source, ours) for source, ours in by_source.items()]


def predict_by_rule(category: str) -> float:
    """Return the change of AUROC that v1.2's rule promises; 0 for a category unknown to it: there it is v1.1."""
    return RULE_PREDICTIONS.get(category, 0.0)


def _record(source: str, judged: Sequence[Judged]) -> SourceRecord:
    predicted = statistics.fmean(one.prediction.gain for one in judged)
    confirmed = statistics.fmean(one.confirmed for one in judged)
    return SourceRecord(
        source=source,
        n=len(judged),
        directions_right=sum(one.is_direction_right for one in judged),
        sizes_reached=sum(one.is_size_reached for one in judged),
        held=sum(one.held for one in judged),
        inside=sum(one.is_inside for one in judged),
        mean_predicted=predicted,
        mean_confirmed=confirmed,
        mean_error=predicted - confirmed,
    )
