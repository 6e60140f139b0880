"""From the case of a category to its verdict, with all that a reader needs to doubt it. Nothing is read here."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anomalyvfm_opt.evaluation.lights import LightGain, compare_lights
from anomalyvfm_opt.evaluation.resample import bootstrap_difference, bootstrap_models
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST, FROZEN_ARM
from anomalyvfm_opt.store.looks import Opening
from anomalyvfm_opt.verdict.compare import Difference, compare_arms
from anomalyvfm_opt.verdict.decide import LEAST_SCENES, Ruling, decide, smallest_gain
from anomalyvfm_opt.verdict.evidence import ArmEvidence, Case, Evidence
from anomalyvfm_opt.verdict.noise import expect_luck
from anomalyvfm_opt.verdict.predictions import Judged, Prediction
from anomalyvfm_opt.verdict.replicates import Noise, find_noise
from anomalyvfm_opt.verdict.roi import ArmCost, Roi, name_unit

_DRAWS = 2000


@dataclass(frozen=True)
class Gain:
    """A gain with a percentile interval of the crossed bootstrap: a second view, which decides nothing."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Luck:
    """What the search seemed to show, and what became of it (image AUROC).

    Args:
        trials: trained trials that the best one was the best of.
        best_of_none: what the best of so many shows above the baseline with no effect at all, by the noise floor;
            None without one.
        search_value: of the finalist's trial.
        race_mean: of its fresh seeds, on the same search data.
        confirmed: of its fresh seeds, on the locked images; None where none came to its end.
    """

    trials: int
    best_of_none: float | None
    search_value: float
    race_mean: float
    confirmed: float | None

    @property
    def shrinkage(self) -> float | None:
        """Return the search value minus the confirmed value; None where none is confirmed."""
        return None if self.confirmed is None else self.search_value - self.confirmed


@dataclass(frozen=True)
class CategoryVerdict:
    """The verdict on one category.

    Args:
        evidence: that it rests on.
        difference: finalist minus baseline; None where nothing can be said.
        ruling: at the level of the terms.
        smallest_gain: that would have been adopted with a power of 0.8, given the variances found.
        bootstrap: of the same difference.
        au_pro: of AU-PRO 0.05; None where there are no masks or no maps.
        lights: light -> gain in image AUROC on its images.
        frozen: arm -> its difference from the frozen network; empty where that is the baseline.
        roi: what it cost.
        noise: the floor of the study; None where it was not measured.
        luck: of the search.
        openings: of these locked images, by any study.
        searched_on: studies that searched on images which are locked here -> how many.
        predictions: that were written down before, judged.
    """

    evidence: Evidence
    difference: Difference | None
    ruling: Ruling
    smallest_gain: float | None
    bootstrap: Gain | None
    au_pro: Gain | None
    lights: Mapping[str, LightGain]
    frozen: Mapping[str, Difference]
    roi: Roi
    noise: Noise | None
    luck: Luck
    openings: Sequence[Opening]
    searched_on: Mapping[str, int]
    predictions: Sequence[Judged]

    @property
    def cost_ratio(self) -> float | None:
        """Return the ratio that is held against `max_cost_ratio`."""
        return self.roi.dearest_ratio


def judge(case: Case) -> CategoryVerdict:
    """Judge one category. The same case gives the same verdict, the bootstrap included."""
    evidence = case.evidence
    terms, images = evidence.plan.terms, evidence.images
    finalist, baseline = evidence.arms[FINALIST], evidence.arms[BASELINE]
    difference = compare_finalist(evidence)
    roi = _reckon_roi(case)
    ruling = decide(difference, terms, roi.dearest_ratio, images.scene_counts, models=evidence.models)
    frozen = evidence.arms.get(FROZEN_ARM)
    against = {name: _compare(evidence.arms[name], frozen, evidence) for name in (FINALIST, BASELINE) if frozen}
    rng = np.random.default_rng(_seed(evidence))
    noise = find_noise(evidence.study, case.replicates)
    return CategoryVerdict(
        evidence=evidence,
        difference=difference,
        ruling=ruling,
        smallest_gain=None if difference is None else smallest_gain(difference, terms),
        bootstrap=_bootstrap(evidence, difference, rng),
        au_pro=_gain_au_pro(finalist, baseline, rng),
        lights={} if difference is None else _gain_by_light(evidence, rng),
        frozen={name: found for name, found in against.items() if found is not None},
        roi=roi,
        noise=noise,
        luck=_reckon_luck(case, noise),
        openings=case.openings,
        searched_on=case.searched_on,
        predictions=_judge_predictions(case, ruling),
    )


def compare_finalist(evidence: Evidence) -> Difference | None:
    """Compare finalist and baseline on the locked images; None where nothing can be said."""
    return _compare(evidence.arms[FINALIST], evidence.arms[BASELINE], evidence)


def _compare(ours: ArmEvidence, others: ArmEvidence, evidence: Evidence) -> Difference | None:
    if not len(ours.scores) or not len(others.scores):
        return None
    return compare_arms(ours.scores, others.scores, evidence.images.labels, evidence.images.scenes)


def _bootstrap(evidence: Evidence, difference: Difference | None, rng: np.random.Generator) -> Gain | None:
    if difference is None:
        return None
    arms = (evidence.arms[FINALIST].scores, evidence.arms[BASELINE].scores)
    draws = bootstrap_difference(*arms, evidence.images.labels, evidence.images.scenes, _DRAWS, rng)
    return _to_gain(difference.estimate, draws)


def _gain_by_light(evidence: Evidence, rng: np.random.Generator) -> dict[str, LightGain]:
    """Return the gains under lights that have as many scenes as a category takes.

    Quantiles of fewer would pretend to be exact.
    """
    arms = (evidence.arms[FINALIST].scores, evidence.arms[BASELINE].scores)
    images = evidence.images
    found = compare_lights(*arms, images.labels, images.scenes, images.lights, _DRAWS, rng)
    return {name: gain for name, gain in found.items() if min(gain.good_scenes, gain.bad_scenes) >= LEAST_SCENES}


def _gain_au_pro(finalist: ArmEvidence, baseline: ArmEvidence, rng: np.random.Generator) -> Gain | None:
    if finalist.au_pro is None or baseline.au_pro is None:
        return None
    if finalist.au_pro_draws is None or baseline.au_pro_draws is None:
        return None
    draws = bootstrap_models(finalist.au_pro_draws, baseline.au_pro_draws, rng)
    return _to_gain(float(finalist.au_pro.mean() - baseline.au_pro.mean()), draws)


def _to_gain(estimate: float, draws: np.ndarray) -> Gain:
    low, high = np.nanquantile(draws, [0.025, 0.975])  # a draw may hold no known defect
    return Gain(estimate, float(low), float(high))


def _seed(evidence: Evidence) -> int:
    """Return the seed of the bootstrap, which is the same for the same round."""
    text = f"{evidence.study.name} {evidence.stored.round}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _reckon_roi(case: Case) -> Roi:
    evidence, spent = case.evidence, case.spent

    def cost(arm: ArmEvidence) -> ArmCost:
        trained = arm.runs.mean_seconds() if arm.is_drawn else 0.0
        return ArmCost(trained, arm.mean_inference_s())

    return Roi(
        search_s=spent.search_s,
        race_s=spent.race_s,
        confirmation_s=spent.confirmation_s,
        finalist=cost(evidence.arms[FINALIST]),
        baseline=cost(evidence.arms[BASELINE]),
        price_per_gpu_hour=evidence.study.spec.verdict.price_per_gpu_hour,
        unit=name_unit(evidence.stored.device),
    )


def _reckon_luck(case: Case, noise: Noise | None) -> Luck:
    trials = len(case.observed)
    finalist = case.evidence.arms[FINALIST]
    return Luck(
        trials=trials,
        best_of_none=None if noise is None else expect_luck(noise.floor, max(1, trials)),
        search_value=case.evidence.plan.search_value,
        race_mean=float(np.mean(finalist.plan.search_values)),
        confirmed=float(finalist.values.mean()) if len(finalist.values) else None,
    )


def _judge_predictions(case: Case, ruling: Ruling) -> list[Judged]:
    """Hold what was predicted of this round against the interval that decides."""
    estimate, low, high = ruling.estimate, ruling.low, ruling.high
    if estimate is None or low is None or high is None:
        return []
    return [
        Judged(Prediction(made.source, made.gain, made.note), confirmed=estimate, low=low, high=high)
        for made in case.predictions
        if made.round == case.evidence.stored.round
    ]
