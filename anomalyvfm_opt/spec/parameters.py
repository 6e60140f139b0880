"""The parameters of one trial, as training understands them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Parameters:
    """One point of the search space.

    The three shares say which part of the `synthesis_count` training anomalies is of each kind;
    they sum to 1. `adapted_blocks` counts from the last block that is used, or is "all". Trials from before there
    was a `dropout` had none. `image_size_px` is None where the size is not searched: it is then the spec's.
    """

    adapter: str
    rank: int
    alpha_ratio: float
    targets: str
    adapted_blocks: int | str
    epochs: int
    learning_rate: float
    texture: float
    structural: float
    contextual: float
    synthesis_count: int
    synthesis_intensity: float
    dropout: float = 0.0
    image_size_px: int | None = None

    @property
    def alpha(self) -> float:
        """LoRA's alpha, `alpha_ratio * rank`; the update is scaled by alpha / rank (rslora: / sqrt(rank))."""
        return self.alpha_ratio * self.rank

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """From what is stored with a trial or a plan; what is younger than it has the value that it had then.

        Raises:
            TypeError: there is too little, or something that is no parameter.
        """
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """What is stored with a trial or a plan."""
        return asdict(self)

    @classmethod
    def from_suggested(cls, suggested: Mapping[str, Any]) -> Self:
        """From what Optuna suggests: the mix arrives as two uniform numbers `mix_u1`, `mix_u2`.

        Breaking the stick this way is uniform on the simplex (the density of Dirichlet(1, 1, 1)).
        """
        values = dict(suggested)
        texture = 1 - math.sqrt(1 - values.pop("mix_u1"))
        structural = values.pop("mix_u2") * (1 - texture)
        return cls(**values, texture=texture, structural=structural, contextual=max(0.0, 1 - texture - structural))

    def to_suggested(self) -> dict[str, Any]:
        """The inverse of `from_suggested`, to enqueue a reference in the searched space."""
        values = asdict(self)
        texture, structural, _ = (values.pop(kind) for kind in ("texture", "structural", "contextual"))
        if self.image_size_px is None:
            del values["image_size_px"]
        mix_u1, mix_u2 = join_stick(texture, structural)
        return {**values, "mix_u1": mix_u1, "mix_u2": mix_u2}


def join_stick(texture: float, structural: float) -> tuple[float, float]:
    """The two numbers in 0-1 that break into these shares; the third share is the rest."""
    rest = 1 - texture
    return 1 - rest * rest, min(1.0, structural / rest) if rest > 0 else 0.0
