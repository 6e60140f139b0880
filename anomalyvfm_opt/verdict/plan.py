"""What is written down before a lock is opened: arms, scorers, seeds and terms. Nothing is chosen after it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.trial.seeds import derive_seed
from anomalyvfm_opt.verdict.decide import Terms

FINALIST, BASELINE, FROZEN_ARM = "finalist", "baseline", "frozen"


@dataclass(frozen=True)
class ArmPlan:
    """One arm of a confirmation.

    Args:
        label: what it is, such as `trial 12` or `v1.1`.
        parameters: None for the frozen network.
        scorer: that it is judged by.
        search_values: image AUROC of its replicates on search data, by that scorer.
    """

    label: str
    parameters: Parameters | None
    scorer: str
    search_values: tuple[float, ...]


@dataclass(frozen=True)
class ConfirmationPlan:
    """A confirmation, as decided.

    Args:
        arms: by name: finalist, baseline and, where it is not the baseline, frozen.
        seeds: retrainings of each trained arm; the frozen network has one.
        terms: what counts as a gain.
        chosen_by: `race`, or who named the finalist.
        search_value: of the trial that the finalist was found by.
        smoothed: what the regression over all trials expected of it, and the SD of that.
        entrants: label -> mean of its fresh seeds on search data.
        reason: why a further confirmation was asked for.
    """

    arms: Mapping[str, ArmPlan]
    seeds: int
    terms: Terms
    chosen_by: str
    search_value: float
    smoothed: tuple[float, float]
    entrants: Mapping[str, float]
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], own_size_px: int) -> Self:
        """Read what is stored.

        Args:
            content: as `to_json` made it.
            own_size_px: the image size of the spec, as in `Parameters.from_json`.
        """
        return cls(
            arms={name: _read_arm(arm, own_size_px) for name, arm in content["arms"].items()},
            seeds=content["seeds"],
            terms=Terms(**content["terms"]),
            chosen_by=content["chosen_by"],
            search_value=content["search_value"],
            smoothed=(content["smoothed"][0], content["smoothed"][1]),
            entrants=content["entrants"],
            reason=content["reason"],
        )

    def list_trials(self, spec: Spec, study_name: str, number: int) -> list[Planned]:
        """List the retrainings of a round, arms in turn. Each has a seed that no other arm, round or search has.

        Args:
            spec: of the study.
            study_name: of the study that searched.
            number: of the round, from 1.
        """
        trials = []
        for index in range(self.seeds):
            for name, arm in self.arms.items():
                if arm.parameters is None and index > 0:
                    continue  # it has nothing to draw
                seed = derive_seed("confirm", spec.search.seed, study_name, number, name, index)
                trials.append(
                    Planned(arm=name, parameters=arm.parameters, seed=seed, round=number, scorer=arm.scorer)
                )
        return trials


def set_terms(spec: Spec, judged: int) -> Terms:
    """Return the terms of a spec, whose categories are judged at once."""
    terms = spec.verdict
    return Terms(
        min_gain=terms.min_gain, confidence=terms.confidence, max_cost_ratio=terms.max_cost_ratio, judged=judged
    )


def _read_arm(content: Mapping[str, Any], own_size_px: int) -> ArmPlan:
    parameters = content["parameters"]
    return ArmPlan(
        label=content["label"],
        parameters=None if parameters is None else Parameters.from_json(parameters, own_size_px),
        scorer=content["scorer"],
        search_values=tuple(content["search_values"]),
    )
