"""Trials that are fixed beforehand: parameters, seed, in a confirmation the scorer. Siblings hold only such."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from anomalyvfm_opt.spec.parameters import Parameters

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

    arm: str
    parameters: Parameters | None
    seed: int
    round: int = 0
    scorer: str | None = None

    @property
    def key(self) -> Key:
        """What it is known by in its study: its retries share it."""
        return self.round, self.arm, self.seed

    def to_json(self) -> dict[str, Any]:
        """As the trial's attribute; floats keep all of their digits."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; parameters that came later have the values that they had then."""
        parameters = found["parameters"]
        return cls(**{**found, "parameters": None if parameters is None else Parameters.from_json(parameters)})
