"""Trials that are fixed beforehand: parameters, seed, in a confirmation the scorer. Siblings hold only such."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from anomalyvfm_opt.spec.parameters import StoredParameters
from anomalyvfm_opt.spec.shown import describe_first

ANY_SIZE_PX = 64  # stands in for the spec's where only that is asked which does not depend on it
Key = tuple[int, str, int]  # round, arm, seed


@dataclass(frozen=True)
class Planned:
    """One retraining that was decided beforehand.

    Args:
        arm: what it is a retraining of, such as `baseline` or `trial 12`.
        parameters: None for the frozen detector.
        seed: of the training.
        round: of the confirmation, from 1; 0 for replicates.
        scorer: by which the locked images are judged; None for a trial on search data.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    arm: str
    parameters: StoredParameters
    seed: int
    round: Annotated[int, Field(ge=0)] = 0
    scorer: str | None = None

    @property
    def key(self) -> Key:
        """What it is known by in its study: its retries share it."""
        return self.round, self.arm, self.seed

    def to_json(self) -> dict[str, Any]:
        """Return it as the trial's attribute; floats keep all of their digits."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any], own_size_px: int) -> Self:
        """Read what `to_json` wrote; parameters that came later have the values that they had then.

        Args:
            found: as it is stored.
            own_size_px: the image size of the spec, as in `Parameters.from_json`.

        Raises:
            ValueError: what is wrong in it, and where.
        """
        try:
            planned: Self = _make_reader().validate_json(json.dumps(found), strict=True, context=own_size_px)
        except ValidationError as error:
            raise ValueError(describe_first(error)) from None
        return planned


@cache
def _make_reader() -> TypeAdapter[Any]:
    return TypeAdapter(Planned)
