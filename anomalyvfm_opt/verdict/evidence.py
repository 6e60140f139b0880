"""What a confirmation brought in: the scores of every model on the locked images, and all else a verdict takes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.spec.shown import show_value
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST, ArmPlan, ConfirmationPlan
from anomalyvfm_opt.store.confirmations import StoredConfirmation
from anomalyvfm_opt.store.looks import Opening
from anomalyvfm_opt.store.predictions import StoredPrediction
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.verdict.runs import Arm, Run
from anomalyvfm_opt.verdict.smoothing import Observed


class NotConfirmedError(EnvironmentMissingError):
    """There is no verdict yet."""


def explain_unreadable(study_name: str, error: Exception) -> NotConfirmedError:
    """Return what to say where what is stored of a confirmation cannot be read."""
    return NotConfirmedError(
        f"the confirmation of {study_name} cannot be read: {type(error).__name__}: {show_value(str(error), 200)}",
        "its rows were not written by this program, or are damaged: restore them from an export or a backup",
    )


@dataclass(frozen=True, kw_only=True)
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
        """Return how many good and bad scenes there are."""
        good, bad = (
            {scene for scene, label in zip(self.scenes, self.labels, strict=True) if label == wanted}
            for wanted in (0, 1)
        )
        return len(good), len(bad)


@dataclass(frozen=True, kw_only=True)
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
        """Tell whether another seed would have made another model; of the frozen network there is only one."""
        return self.plan.parameters is not None

    def mean_inference_s(self) -> float | None:
        """Return the seconds of one image, from frame to score, as a mean over models; None if not measured."""
        seconds = [run.record.inference_s_per_image for run in self.runs.done]
        known = [float(value) for value in seconds if value is not None]
        return sum(known) / len(known) if known else None


@dataclass(frozen=True, kw_only=True)
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
    plan: ConfirmationPlan
    images: LockedImages
    arms: Mapping[str, ArmEvidence]

    @property
    def models(self) -> dict[str, int]:
        """Count the models of each arm that is compared, where that says how much seeds matter.

        Of a frozen baseline there is one, which is all; if it failed there is none.
        """
        compared = {name: self.arms[name] for name in (FINALIST, BASELINE)}
        return {name: len(arm.values) for name, arm in compared.items() if arm.is_drawn or not len(arm.values)}


@dataclass(frozen=True)
class Spent:
    """Seconds of all trials of a study and of its siblings, by what they were for."""

    search_s: float
    race_s: float
    confirmation_s: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that the verdict on one category is judged from, as it was read.

    Args:
        evidence: of the round.
        spent: what it took to get there.
        replicates: retrainings on search data.
        observed: trials of the search with parameters and a value that can be trusted.
        openings: of these locked images, by any study.
        searched_on: studies that searched on images which are locked here -> how many.
        predictions: that were written down for any round.
    """

    evidence: Evidence
    spent: Spent
    replicates: tuple[Run, ...]
    observed: tuple[Observed, ...]
    openings: tuple[Opening, ...]
    searched_on: Mapping[str, int]
    predictions: tuple[StoredPrediction, ...]
