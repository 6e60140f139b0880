"""What a confirmation brought in: the scores of every model on the locked images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Engine

from anomalyvfm_opt.data.records import BAD, GOOD
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.evaluation.au_pro_resample import AU_PRO
from anomalyvfm_opt.store.confirmations import StoredConfirmation, list_confirmations
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.store.scores import read_all_scores, read_metrics, read_resampled
from anomalyvfm_opt.store.siblings import find_sibling
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.verdict.plan import BASELINE, FINALIST, ArmPlan, Plan
from anomalyvfm_opt.verdict.runs import Arm, group_arms, list_runs


class NotConfirmedError(EnvironmentMissingError):
    """There is no verdict yet."""


@dataclass(frozen=True)
class LockedImages:
    """The n locked images that all arms are judged on.

    Args:
        keys: n.
        labels: int (n,), 1 for anomalous.
        scenes: n names.
        lights: n; None where a file's name has none.
    """

    keys: tuple[str, ...]
    labels: np.ndarray
    scenes: tuple[str, ...]
    lights: tuple[str | None, ...]

    @property
    def scene_counts(self) -> tuple[int, int]:
        """Good and bad scenes."""
        good, bad = (
            {scene for scene, label in zip(self.scenes, self.labels, strict=True) if label == wanted}
            for wanted in (0, 1)
        )
        return len(good), len(bad)


@dataclass(frozen=True)
class ArmEvidence:
    """The s models of one arm.

    Args:
        plan: what was decided of it.
        runs: its retrainings.
        scores: float64 (s, n).
        values: image AUROC of each model (s,).
        au_pro: AU-PRO 0.05 of each model (s,); None where a model has none.
        au_pro_draws: the same under the shared draws of scenes (s, draws).
    """

    plan: ArmPlan
    runs: Arm
    scores: np.ndarray
    values: np.ndarray
    au_pro: np.ndarray | None
    au_pro_draws: np.ndarray | None

    @property
    def is_drawn(self) -> bool:
        """Whether another seed would have made another model; of the frozen network there is only one."""
        return self.plan.parameters is not None

    def mean_inference_s(self) -> float | None:
        """Seconds of one image, from frame to score."""
        seconds = [run.attributes.get("inference_s_per_image") for run in self.runs.done]
        known = [float(value) for value in seconds if value is not None]
        return sum(known) / len(known) if known else None


@dataclass(frozen=True)
class Evidence:
    """One round of the confirmation of one study.

    Args:
        study: that searched.
        stored: the round.
        rounds: number of the latest one.
        plan: what was decided.
        images: that were looked at.
        arms: by name.
    """

    study: StudyRecord
    stored: StoredConfirmation
    rounds: int
    plan: Plan
    images: LockedImages
    arms: Mapping[str, ArmEvidence]

    @property
    def models(self) -> dict[str, int]:
        """How many models there are of each arm that is compared, where that says how much seeds matter.

        Of a frozen baseline there is one, which is all; if it failed there is none.
        """
        compared = {name: self.arms[name] for name in (FINALIST, BASELINE)}
        return {name: len(arm.values) for name, arm in compared.items() if arm.is_drawn or not len(arm.values)}


def read_evidence(store: Store, study: StudyRecord, number: int | None = None) -> Evidence:
    """A round of a study's confirmation; the latest where none is named.

    Raises:
        NotConfirmedError: there is none, or its trainings are not over.
    """
    hint = f"anomalyvfm-opt confirm {study.name}"
    sibling = find_sibling(store.engine, study, "confirm")
    rounds = [] if sibling is None else list_confirmations(store.engine, sibling.study_id)
    chosen = [one for one in rounds if number in (None, one.round)]
    if sibling is None or not chosen:
        what = "is not confirmed yet" if number is None else f"has no round {number} of confirmation"
        raise NotConfirmedError(f"{study.name} {what}", hint)
    stored = chosen[-1]
    plan = Plan.from_json(stored.plan, study.spec.data.image_size_px)
    runs = [run for run in list_runs(store, sibling) if run.planned.round == stored.round]
    still_open = sum(run.is_open for run in runs)
    if still_open:
        raise NotConfirmedError(f"{still_open} of {len(runs)} trainings of {sibling.name} are not done yet", hint)
    images = _list_locked(store.engine, sibling.study_id)
    scores = read_all_scores(store.engine, sibling.study_id)
    arms = group_arms(runs)
    found = {name: _read_arm(store.engine, plan.arms[name], arms[name], images, scores) for name in plan.arms}
    return Evidence(study, stored, rounds[-1].round, plan, images, found)


def _list_locked(engine: Engine, study_id: int) -> LockedImages:
    locked = [image for _, image in sorted(list_images(engine, study_id).items()) if image.role == "locked"]
    return LockedImages(
        keys=tuple(image.image_key for image in locked),
        labels=np.array([{GOOD: 0, BAD: 1}[image.label] for image in locked], dtype=np.int64),
        scenes=tuple(image.scene for image in locked),
        lights=tuple(image.light for image in locked),
    )


def _read_arm(
    engine: Engine, plan: ArmPlan, arm: Arm, images: LockedImages, scores: Mapping[int, Mapping[str, float]]
) -> ArmEvidence:
    done = arm.done
    metrics = [read_metrics(engine, run.trial_id)[plan.scorer] for run in done]
    draws = [read_resampled(engine, run.trial_id, AU_PRO) for run in done]
    rows = [[scores[run.trial_id][key] for key in images.keys] for run in done]
    return ArmEvidence(
        plan=plan,
        runs=arm,
        scores=np.array(rows, dtype=np.float64).reshape(len(done), len(images.keys)),
        values=np.array([one.image_auroc for one in metrics]),
        au_pro=_stack([one.au_pro_005 for one in metrics]),
        au_pro_draws=_stack(draws),
    )


def _stack(values: Sequence[float | np.ndarray | None]) -> np.ndarray | None:
    known = [value for value in values if value is not None]
    return np.array(known, dtype=np.float64) if known and len(known) == len(values) else None
