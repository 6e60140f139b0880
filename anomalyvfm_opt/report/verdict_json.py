"""A verdict as JSON (schema 1). Gains and AUROC are 0-1."""

import statistics
from typing import Any

from anomalyvfm_opt.report.ledger_text import judged_to_json
from anomalyvfm_opt.report.verdict_doubts import count_looks, list_doubts
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST, FROZEN_ARM
from anomalyvfm_opt.verdict.decide import Ruling
from anomalyvfm_opt.verdict.evidence import ArmEvidence
from anomalyvfm_opt.verdict.judge import CategoryVerdict, Gain
from anomalyvfm_opt.verdict.judge_spec import SpecVerdict
from anomalyvfm_opt.verdict.roi import Roi


def to_json(found: CategoryVerdict | SpecVerdict) -> dict[str, Any]:
    """Return a verdict on a study or on a spec."""
    return category_to_json(found) if isinstance(found, CategoryVerdict) else spec_to_json(found)


def category_to_json(found: CategoryVerdict) -> dict[str, Any]:
    """Return the `verdict S --json` object."""
    evidence, arms = found.evidence, found.evidence.arms
    looks, scorings = count_looks(found)
    good, bad = evidence.images.scene_counts
    return {
        "schema": 1,
        "study": evidence.study.name,
        "category": evidence.study.category,
        **_ruling_to_json(found.ruling),
        "cost_ratio": found.cost_ratio,
        "finalist": _arm_to_json(arms[FINALIST]),
        "baseline": _arm_to_json(arms[BASELINE]),
        "frozen": _arm_to_json(arms[FROZEN_ARM]) if FROZEN_ARM in arms else None,
        "seeds": len(arms[FINALIST].values),
        "looks": looks,
        "scorings": scorings,
        "round": evidence.stored.round,
        "planned_at": evidence.stored.made_at.isoformat(),
        "planned_by": evidence.stored.made_by,
        "chosen_by": evidence.plan.chosen_by,
        "device": evidence.stored.device,
        "scenes": {"good": good, "bad": bad},
        "smallest_gain": found.smallest_gain,
        "bootstrap": _gain_to_json(found.bootstrap),
        "au_pro_005": _gain_to_json(found.au_pro),
        "lights": {
            light: {"estimate": gain.estimate, "low": gain.low, "high": gain.high}
            for light, gain in found.lights.items()
        },
        "noise": None
        if found.noise is None
        else {
            "reference": found.noise.reference,
            "scorer": found.noise.scorer,
            "values": list(found.noise.floor.values),
            "sd": found.noise.floor.sd,
            "least_difference": found.noise.floor.least_difference,
        },
        "search": {**vars(found.luck), "shrinkage": found.luck.shrinkage},
        "roi": _roi_to_json(found.roi, found.ruling),
        "predictions": [judged_to_json(one) for one in found.predictions],
        "doubts": list_doubts([found]),
    }


def spec_to_json(found: SpecVerdict) -> dict[str, Any]:
    """Return the `verdict SPEC --json` object."""
    return {
        "schema": 1,
        "spec": found.spec,
        **_ruling_to_json(found.ruling),
        "cost_ratio": found.roi.dearest_ratio,
        "smallest_gain": found.smallest_gain,
        "roi": _roi_to_json(found.roi, found.ruling),
        "categories": [category_to_json(one) for one in found.categories],
    }


def _ruling_to_json(ruling: Ruling) -> dict[str, Any]:
    need = ruling.need
    return {
        "verdict": ruling.verdict,
        "reason": ruling.reason,
        "action": ruling.action,
        "confidence": ruling.confidence,
        "judged": ruling.judged,
        "gain": {"estimate": ruling.estimate, "low": ruling.low, "high": ruling.high},
        "need": None
        if need is None
        else {
            "seeds": need.seeds,
            "scene_factor": need.scene_factor,
            "together": None if need.together is None else vars(need.together),
        },
    }


def _arm_to_json(arm: ArmEvidence) -> dict[str, Any]:
    values = [float(value) for value in arm.values]
    return {
        "label": arm.plan.label,
        "params": None if arm.plan.parameters is None else vars(arm.plan.parameters),
        "scorer": arm.plan.scorer,
        "values": values,
        "mean": statistics.fmean(values) if values else None,
        "au_pro_005": None if arm.au_pro is None else float(arm.au_pro.mean()),
        "failed_seeds": len(arm.runs.failed),
        "seconds": arm.runs.mean_seconds(),
        "inference_s_per_image": arm.mean_inference_s(),
    }


def _gain_to_json(gain: Gain | None) -> dict[str, float] | None:
    return None if gain is None else vars(gain)


def _roi_to_json(roi: Roi, ruling: Ruling) -> dict[str, Any]:
    return {
        "search_gpu_seconds": roi.search_s,
        "race_gpu_seconds": roi.race_s,
        "confirmation_gpu_seconds": roi.confirmation_s,
        "training_ratio": roi.cost_ratio,
        "inference_ratio": roi.inference_ratio,
        "gain_per_gpu_hour": None if ruling.estimate is None else roi.gain_per_gpu_hour(ruling.estimate),
        "money": roi.money(roi.spent_s),
    }
