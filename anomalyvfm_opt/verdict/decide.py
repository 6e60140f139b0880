"""The ruling: adopt the finalist, keep the baseline, or say that it cannot be told, and what would tell it.

The interval at the level of the terms decides, and it is the one that is shown. Where the verdict is inconclusive
the baseline stays, and a projection names what is missing: the estimate is held where it is, and the variance is
that of more seeds or of more scenes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from anomalyvfm_opt.evaluation.student import student_quantile
from anomalyvfm_opt.store.confirmation_plan import Terms
from anomalyvfm_opt.verdict.compare import Difference, Source
from anomalyvfm_opt.verdict.resolution import find_widths

LEAST_SCENES = 4  # locked scenes of each label, for a ruling on one category
MOST_SEEDS = 1000  # an arm; a projection that needs more names none
MOST_SCENES = 100  # times those there are

_WORTHWHILE = 0.8  # of the scenes: seeds that spare fewer of them are not named
_KEEP = "keep the baseline"

Verdict = Literal["ADOPT", "KEEP_BASELINE", "INCONCLUSIVE"]
Reason = Literal["gain", "no_gain", "cost", "too_few_scenes", "too_few_seeds", "no_models"]


@dataclass(frozen=True)
class Both:
    """More seeds and more scenes together: so many seeds an arm, and by how much to multiply the scenes."""

    seeds: int
    scene_factor: float


@dataclass(frozen=True)
class Need:
    """What would decide an inconclusive comparison, were the estimate to stay as it is.

    Args:
        seeds: the least number an arm; None if not even `MOST_SEEDS`: the scenes alone leave too much in doubt.
        scene_factor: by how much to multiply the scenes, with the seeds there are; None if not even `MOST_SCENES`.
        together: the least multiple of both at once; None if not even the most of both.
    """

    seeds: int | None
    scene_factor: float | None
    together: Both | None = None


@dataclass(frozen=True)
class Ruling:
    """A verdict, with what it rests on.

    Args:
        verdict: what to do.
        reason: why.
        action: the same as a sentence for people, without a full stop, so that a command may follow.
        estimate: of the gain (AUROC), finalist minus baseline; None where nothing can be said.
        low: the bound of the interval that decides.
        high: its other bound.
        confidence: of that interval, together with the others that are judged.
        judged: how many are.
        need: what would decide it; None unless a projection was made.
    """

    verdict: Verdict
    reason: Reason
    action: str
    estimate: float | None
    low: float | None
    high: float | None
    confidence: float
    judged: int
    need: Need | None = None


def decide(
    difference: Difference | None,
    terms: Terms,
    cost_ratio: float | None,
    scenes: tuple[int, int] | None,
    seeds: int | None = None,
    models: Mapping[str, int] | None = None,
) -> Ruling:
    """Rule on one category, or on the mean over categories.

    Args:
        difference: finalist minus baseline on the locked images; None where `compare_arms` could say nothing.
        terms: what a gain has to be.
        cost_ratio: finalist to baseline; None if not known, which no `max_cost_ratio` lets pass.
        scenes: good and bad locked scenes of the category; None for a mean, whose parts make up for each other.
        seeds: an arm; None: as many as the seed parts were estimated from.
        models: what was to be retrained with several seeds, such as `finalist` -> how many of them came to their
            end; None: as many as were planned.
    """
    counts = models or {}
    if lacking := [name for name, count in counts.items() if count == 0]:
        action = (
            f"{_KEEP}; no training of the {' and the '.join(lacking)} came to its end: nothing can be compared"
        )
        return _rule(None, terms, "INCONCLUSIVE", "no_models", action)
    if difference is None:
        return _rule(None, terms, "INCONCLUSIVE", "too_few_scenes", f"{_KEEP}; {_describe_scenes(scenes)}")
    if scenes is not None and min(scenes) < LEAST_SCENES:
        return _rule(difference, terms, "INCONCLUSIVE", "too_few_scenes", f"{_KEEP}; {_describe_scenes(scenes)}")
    if 1 in counts.values() or all(part.source != "seeds" for part in difference.parts):
        action = (
            f"{_KEEP}; with one seed an arm nobody knows what another seed would have shown: retrain with more"
        )
        return _rule(difference, terms, "INCONCLUSIVE", "too_few_seeds", action)
    low, high = difference.interval(terms.confidence, terms.judged)
    if low > terms.min_gain:
        return _rule_on_cost(difference, terms, cost_ratio)
    if high < terms.min_gain:
        action = f"{_KEEP}; the gain is at most {high:+.4f} AUROC, and {terms.min_gain:g} is asked for"
        return _rule(difference, terms, "KEEP_BASELINE", "no_gain", action)
    need = project(difference, terms, seeds if seeds is not None else _count_seeds(difference))
    reason: Reason = "too_few_scenes" if need.seeds is None else "too_few_seeds"
    action = f"{_KEEP}; {_describe_need(need, terms, smallest_gain(difference, terms))}"
    return _rule(difference, terms, "INCONCLUSIVE", reason, action, need)


def project(difference: Difference, terms: Terms, seeds: int) -> Need:
    """Say what would decide it either way, were the estimate to stay as it is.

    The variance of a part falls as its source grows, and its degrees of freedom grow with it: from S - 1 to S' - 1
    for seeds, likewise for the scenes of the rarer label. Not a promise: more data move the estimate, too.

    Args:
        difference: an inconclusive one.
        terms: of the ruling.
        seeds: an arm, those there are.
    """
    more = np.arange(seeds + 1, MOST_SEEDS + 1)
    factors = np.arange(11, 10 * MOST_SCENES + 1) / 10
    multiples = np.ceil(np.round(factors * seeds, 6))  # in whole seeds; 1.1 * 10 is a little above 11
    enough = _is_decided(difference, terms, {"seeds": more / seeds})
    wide = _is_decided(difference, terms, {"scenes": factors})
    both = _is_decided(difference, terms, {"seeds": multiples / seeds, "scenes": factors})
    both &= multiples <= MOST_SEEDS
    return Need(
        seeds=int(more[enough.argmax()]) if enough.any() else None,
        scene_factor=float(factors[wide.argmax()]) if wide.any() else None,
        together=Both(int(multiples[both.argmax()]), float(factors[both.argmax()])) if both.any() else None,
    )


def smallest_gain(difference: Difference, terms: Terms) -> float:
    """Return the least true gain (AUROC) that would be adopted with a power of 0.8, given these variances."""
    widths = find_widths(difference, terms.judged, min_gain=terms.min_gain, confidence=terms.confidence)
    return widths[1]


def _rule(
    difference: Difference | None,
    terms: Terms,
    verdict: Verdict,
    reason: Reason,
    action: str,
    need: Need | None = None,
) -> Ruling:
    estimate, low, high = None, None, None
    if difference is not None:
        estimate = difference.estimate
        low, high = difference.interval(terms.confidence, terms.judged)
    return Ruling(
        verdict=verdict,
        reason=reason,
        action=action,
        estimate=estimate,
        low=low,
        high=high,
        confidence=terms.confidence,
        judged=terms.judged,
        need=need,
    )


def _rule_on_cost(difference: Difference, terms: Terms, cost_ratio: float | None) -> Ruling:
    """Rule on a gain that is real, by what it costs."""
    most = terms.max_cost_ratio
    if most is None or (cost_ratio is not None and cost_ratio <= most):
        low, _ = difference.interval(terms.confidence, terms.judged)
        action = f"adopt the finalist; the gain is at least {low:+.4f} AUROC, and {terms.min_gain:g} is asked for"
        return _rule(difference, terms, "ADOPT", "gain", action)
    costs = "what it costs is not known" if cost_ratio is None else f"it costs {cost_ratio:.2f}x the baseline"
    action = f"{_KEEP}; the gain is real, but {costs}, and at most {most:.2f}x is allowed"
    return _rule(difference, terms, "KEEP_BASELINE", "cost", action)


def _is_decided(difference: Difference, terms: Terms, factors: Mapping[Source, np.ndarray]) -> np.ndarray:
    """Tell whether more of one source, or of both, would decide it either way.

    Args:
        difference: an inconclusive one.
        terms: of the ruling.
        factors: source -> by how much it is multiplied (k,); one that is not named stays as it is.

    Returns:
        bool (k,).
    """
    as_it_is = np.ones_like(next(iter(factors.values())))
    variance, spread = np.zeros_like(as_it_is), np.zeros_like(as_it_is)
    for part in difference.parts:
        times = factors.get(part.source, as_it_is)
        variance += part.variance / times
        spread += (part.variance / times) ** 2 / ((part.freedom + 1) * times - 1)
    freedom = np.divide(variance**2, spread, out=np.full_like(as_it_is, math.inf), where=spread > 0)
    quantile = student_quantile(1 - (1 - terms.confidence) / 2 / terms.judged, freedom)
    decided: np.ndarray = abs(difference.estimate - terms.min_gain) > quantile * np.sqrt(variance)
    return decided


def _count_seeds(difference: Difference) -> int:
    """Count the seeds of the arm with the fewest, by the degrees of freedom of its part."""
    fewest = min(part.freedom for part in difference.parts if part.source == "seeds")
    if not math.isfinite(fewest):
        raise ValueError("an SD that is taken as known does not tell how many seeds an arm has: give seeds")
    return round(fewest) + 1


def _describe_scenes(scenes: tuple[int, int] | None) -> str:
    if scenes is None:
        return "a category has too few locked scenes to say anything of the mean"
    good, bad = scenes
    return (
        f"it takes {LEAST_SCENES} locked scenes of each label to rule on it, and there are {good} good, {bad} bad"
    )


def _describe_need(need: Need, terms: Terms, smallest: float) -> str:
    """Say what would decide it; where seeds alone would not, also which gain is within reach.

    Args:
        need: what was projected.
        terms: of the ruling.
        smallest: gain (AUROC) that what there is would show.
    """
    if need.seeds is not None:
        return f"{need.seeds} seeds an arm could decide it"
    return f"{_describe_scenes_needed(need, terms)}; those there are show a gain of about {smallest:.3f} or more"


def _describe_scenes_needed(need: Need, terms: Terms) -> str:
    both, factor = need.together, need.scene_factor
    if factor is not None:
        is_less = both is not None and both.scene_factor <= _WORTHWHILE * factor
        more = (
            f", or {both.scene_factor:.1f} times as many with {both.seeds} seeds an arm"
            if both and is_less
            else ""
        )
        return f"more seeds cannot decide it, about {factor:.1f} times as many scenes could{more}"
    if both is not None:
        return (
            f"about {both.seeds} seeds an arm and {both.scene_factor:.1f} times as many scenes, both together,"
            " could decide it"
        )
    return f"the gain lies too near the {terms.min_gain:g} asked for to be told from it by more seeds and scenes"
