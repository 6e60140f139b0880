"""Cases and states that no store was read for."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST, FROZEN_ARM, ArmPlan, ConfirmationPlan, Terms
from anomalyvfm_opt.store.confirmations import StoredConfirmation
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.predictions import StoredPrediction
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.verdict.evidence import ArmEvidence, Case, Evidence, LockedImages, Spent
from anomalyvfm_opt.verdict.runs import Arm, Run
from anomalyvfm_opt.verdict.smoothing import Observed

SCENES = 10  # of each label
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def make_baseline() -> Parameters:
    found = reference_parameters("v1.1", "tile", 64)
    assert found is not None
    return found


V1_1 = make_baseline()
BETTER = replace(V1_1, rank=4)


def make_study(name: str = "x/tile", **verdict: Any) -> StudyRecord:
    spec = Spec.model_validate(
        {
            "name": "x",
            "data": {"image_size_px": 64, "lock": "half"},
            "references": ["frozen", "v1.1"],
            "search": {"trials": 6},
            "verdict": {"noise_seeds": 3, "finalists": 2, "race_seeds": 2, "seeds": 4, **verdict},
        }
    )
    return StudyRecord(
        study_id=1,
        name=name,
        category="tile",
        spec=spec,
        spec_sha256="",
        data_dir="",
        lock="half",
        split_sha256="",
        weights_sha256="",
        budget=6,
        judged=1,
    )


def make_run(planned: Planned, **changes: Any) -> Run:
    """A retraining that is done, with the same AUROC by both scorers."""
    auroc = 0.8 if planned.parameters == V1_1 else 0.85
    run = Run(
        planned=planned,
        number=0,
        trial_id=0,
        is_done=True,
        outcome="completed",
        record=TrialRecord(seconds=2.0, inference_s_per_image=0.01, device="cpu"),
        aurocs=dict.fromkeys(("ensemble", "patch_knn"), auroc + planned.seed % 7 / 1000),
        auroc_step=1e-4,
    )
    return replace(run, **changes)


def make_images() -> LockedImages:
    keys = tuple(f"tile/locked/{label}/{i:02d}" for label in ("bad", "good") for i in range(SCENES))
    labels = np.array([int("/bad/" in key) for key in keys], dtype=np.int64)
    return LockedImages(keys=keys, labels=labels, scenes=keys, lights=(None,) * len(keys))


def make_arm(parameters: Parameters | None, scores: np.ndarray, seconds: float = 2.0) -> ArmEvidence:
    """An arm with scores (s, n) on the images of `make_images`."""
    labels = make_images().labels
    runs = tuple(
        make_run(
            Planned("arm", parameters, seed, 1, "ensemble"),
            record=TrialRecord(seconds=seconds, inference_s_per_image=0.01),
        )
        for seed in range(len(scores))
    )
    bad, good = scores[:, labels == 1], scores[:, labels == 0]
    return ArmEvidence(
        plan=ArmPlan("arm", parameters, "ensemble", (0.8, 0.81)),
        runs=Arm("arm", parameters, runs),
        scores=scores,
        values=(bad[:, :, None] > good[:, None, :]).mean(axis=(1, 2)),
        au_pro=None,
        au_pro_draws=None,
    )


def make_case(
    finalist: np.ndarray,
    baseline: np.ndarray,
    *,
    min_gain: float = 0.01,
    max_cost_ratio: float | None = None,
    seconds: Sequence[float] = (2.0, 2.0),
    predicted: Sequence[float] = (),
) -> Case:
    """A case of two arms with scores (s, n) each, and the seconds of their trainings."""
    arms = {
        FINALIST: make_arm(BETTER, finalist, seconds[0]),
        BASELINE: make_arm(V1_1, baseline, seconds[1]),
        FROZEN_ARM: make_arm(None, baseline[:1]),
    }
    plan = ConfirmationPlan(
        arms={name: arm.plan for name, arm in arms.items()},
        seeds=len(finalist),
        terms=Terms(min_gain, 0.95, max_cost_ratio, 1),
        chosen_by="race",
        search_value=0.9,
        smoothed=(0.85, 0.01),
        entrants={"trial 2": 0.85},
    )
    evidence = Evidence(
        study=make_study(),
        stored=StoredConfirmation(1, plan.to_json(), "cpu", NOW, "a person"),
        rounds=1,
        plan=plan,
        images=make_images(),
        arms=arms,
    )
    return Case(
        evidence=evidence,
        spent=Spent(6.0, 4.0, 9.0),
        replicates=tuple(make_run(Planned("v1.1", V1_1, seed)) for seed in range(3)),
        observed=make_observed(),
        openings=(),
        searched_on={},
        predictions=tuple(make_prediction(gain, number) for gain in predicted for number in (1, 2)),
    )


def make_prediction(gain: float, number: int) -> StoredPrediction:
    return StoredPrediction("x/tile", f"says {gain}", number, gain, "", NOW, "a person")


def make_observed() -> tuple[Observed, ...]:
    """v1.1 and four others, of which the last one is the best."""
    others = [replace(V1_1, rank=rank) for rank in (2, 8, 32, 4)]
    trials = zip((V1_1, *others), (0.80, 0.79, 0.81, 0.80, 0.86), strict=True)
    return tuple(Observed(number, parameters, value) for number, (parameters, value) in enumerate(trials, 1))
