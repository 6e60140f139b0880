"""The parameters of one trial, as training understands them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """One point of the search space.

    The three shares say which part of the `synthesis_count` training anomalies is of each kind;
    they sum to 1. `adapted_blocks` counts from the last block that is used, or is "all". Trials from before there
    was a `dropout` had none. Where the image size is not searched, all trials have that of the spec.
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
    image_size_px: int

    @property
    def alpha(self) -> float:
        """LoRA's alpha, `alpha_ratio * rank`; the update is scaled by alpha / rank (rslora: / sqrt(rank))."""
        return self.alpha_ratio * self.rank

    @classmethod
    def from_json(cls, values: Mapping[str, Any], own_size_px: int) -> Self:
        """Read what is stored with a trial or a plan; what is younger than it has the value that it had then.

        Args:
            values: by name.
            own_size_px: the image size of the spec, which is not stored in older studies that search none.

        Raises:
            TypeError: there is too little, or something that is no parameter.
        """
        return cls(**{**values, "image_size_px": values.get("image_size_px") or own_size_px})

    def to_json(self) -> dict[str, Any]:
        """Return what is stored with a trial or a plan."""
        return asdict(self)

    @classmethod
    def from_suggested(cls, suggested: Mapping[str, Any], own_size_px: int) -> Self:
        """Read what Optuna suggests: the mix arrives as two uniform numbers `mix_u1`, `mix_u2`.

        Breaking the stick this way is uniform on the simplex (the density of Dirichlet(1, 1, 1)).

        Args:
            suggested: by the names that Optuna knows.
            own_size_px: the image size of the spec, which is not suggested where the size is not searched.
        """
        values = {"image_size_px": own_size_px, **suggested}
        texture = 1 - math.sqrt(1 - values.pop("mix_u1"))
        structural = values.pop("mix_u2") * (1 - texture)
        return cls(**values, texture=texture, structural=structural, contextual=max(0.0, 1 - texture - structural))

    def to_suggested(self) -> dict[str, Any]:
        """Return the inverse of `from_suggested`, in which the image size stands also where it is not searched."""
        values = asdict(self)
        texture, structural, _ = (values.pop(kind) for kind in ("texture", "structural", "contextual"))
        mix_u1, mix_u2 = join_stick(texture, structural)
        return {**values, "mix_u1": mix_u1, "mix_u2": mix_u2}


def join_stick(texture: float, structural: float) -> tuple[float, float]:
    """The two numbers in 0-1 that break into these shares; the third share is the rest."""
    rest = 1 - texture
    return 1 - rest * rest, min(1.0, structural / rest) if rest > 0 else 0.0
