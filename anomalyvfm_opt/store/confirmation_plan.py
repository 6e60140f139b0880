"""What is written down before a lock is opened: arms, scorers, seeds and terms. Nothing is chosen after it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from anomalyvfm_opt.spec.parameters import StoredParameters
from anomalyvfm_opt.spec.shown import describe_first, show_value

FINALIST, BASELINE, FROZEN_ARM = "finalist", "baseline", "frozen"

_ROUNDING = 1e-6
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=-_ROUNDING, le=1 + _ROUNDING)]  # an AUROC, which rounding may take over 1


@dataclass(frozen=True)
class Terms:
    """What a gain has to be, said before it is looked at.

    Args:
        min_gain: what the true gain has to exceed (AUROC, 0-1).
        confidence: that all intervals judged together hold their true gain, 0-1.
        max_cost_ratio: finalist to baseline, the dearer of training and inference; None: at any cost.
        judged: how many gains are judged together (Bonferroni); 1 for the mean over categories.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # a term that is not known would be a term that is not kept

    min_gain: Annotated[float, Field(ge=-1, le=1)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    max_cost_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
    judged: Annotated[int, Field(ge=1, lt=2**31)]


@dataclass(frozen=True)
class ArmPlan:
    """One arm of a confirmation.

    Args:
        label: what it is, such as `trial 12` or `v1.1`.
        parameters: None for the frozen network.
        scorer: that it is judged by.
        search_values: image AUROC of its replicates on search data, by that scorer; at least one.
    """

    label: str
    parameters: StoredParameters
    scorer: str
    search_values: Annotated[tuple[_Share, ...], Field(min_length=1)]


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
    seeds: Annotated[int, Field(ge=1, le=1000)]
    terms: Terms
    chosen_by: str
    search_value: _Share
    smoothed: tuple[_Finite, _Finite]
    entrants: Mapping[str, _Share]
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], own_size_px: int) -> Self:
        """Read what is stored, which may have come in a file or by somebody's hand.

        Args:
            content: as `to_json` made it.
            own_size_px: the image size of the spec, as in `Parameters.from_json`.

        Raises:
            ValueError: what is wrong in it, and where.
        """
        try:
            plan: Self = _make_reader().validate_json(json.dumps(content), strict=True, context=own_size_px)
        except ValidationError as error:
            raise ValueError(describe_first(error)) from None
        if missing := {FINALIST, BASELINE} - plan.arms.keys():
            raise ValueError(f"there is no arm {min(missing)} among {show_value(sorted(plan.arms))}")
        return plan


@cache
def _make_reader() -> TypeAdapter[Any]:
    return TypeAdapter(ConfirmationPlan)
