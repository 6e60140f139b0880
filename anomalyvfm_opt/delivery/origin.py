"""Where a detector comes from: its study and trial, the data, the versions, and what the confirmation found."""

from typing import Any

from anomalyvfm_opt import __version__
from anomalyvfm_opt.delivery.choice import Choice
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.verdict.evidence import NotConfirmedError
from anomalyvfm_opt.verdict.judge import judge
from anomalyvfm_opt.verdict.read_case import read_case


def describe_origin(store: Store, study: StudyRecord, choice: Choice, split_sha256: str) -> dict[str, Any]:
    """Return the provenance of a detector, as it stands in `detector.json`.

    Args:
        store: the study store.
        study: that was searched.
        choice: the trial.
        split_sha256: of the images, as they are divided here.
    """
    record, parameters = choice.record, choice.parameters
    return {
        "study": study.name,
        "category": study.category,
        "trial": choice.trial.number,
        "chosen": choice.reason,
        "reference": record.reference,
        "search_auroc": choice.trial.value,
        "search_scorer": record.scorer,
        "seed": record.training_seed,
        "parameters": None if parameters is None else {**parameters.to_json(), "alpha": parameters.alpha},
        "verdict": _describe_verdict(store, study, choice),
        "spec_sha256": study.spec_sha256,
        "split_sha256": split_sha256,
        "masks_sha256": study.masks_sha256,
        "trained_on": {"device": record.device, "dtype": record.dtype},
        "versions": dict(record.versions or {}),
        "exported_by": __version__,
    }


def _describe_verdict(store: Store, study: StudyRecord, choice: Choice) -> dict[str, Any]:
    """Return the study's verdict and whether it is about this trial's parameters; or why there is none."""
    try:
        found = judge(read_case(store, study))
    except NotConfirmedError as error:
        return {"missing": error.message}
    ruling, arms = found.ruling, found.evidence.arms
    return {
        "verdict": ruling.verdict,
        "reason": ruling.reason,
        "gain": {"estimate": ruling.estimate, "low": ruling.low, "high": ruling.high},
        "confidence": ruling.confidence,
        "round": found.evidence.stored.round,
        "seeds": len(arms[FINALIST].values),
        "finalist": arms[FINALIST].plan.label,
        "baseline": arms[BASELINE].plan.label,
        "is_about_this_trial": arms[FINALIST].plan.parameters == choice.parameters,
    }
