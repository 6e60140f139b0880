"""The parameters of one trial, as training understands them: the table of axes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, ValidationInfo

from anomalyvfm_opt.spec.axes import IMPLIED, ONE_HOT, Axis, linear, log, log2, log2_or_all, read_axes
from anomalyvfm_opt.spec.mix import break_stick, join_stick
from anomalyvfm_opt.spec.shown import describe_first, show_value
from anomalyvfm_opt.spec.space import NO_ADAPTER, SHARES_TOLERANCE, AdaptedBlocks

_ABOVE_0 = Field(gt=0, allow_inf_nan=False)
_SHARE = Field(ge=-SHARES_TOLERANCE, le=1 + SHARES_TOLERANCE)


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """One point of the search space.

    The three shares say which part of the `synthesis_count` training anomalies is of each kind; they sum to 1.
    `adapted_blocks` counts from the last block that is used, or is "all". Where the image size is not searched,
    all trials have that of the spec.

    To add an axis, add a field here and one to `Space`. What a sampler draws, in this order, what is checked of a
    spec, what the regression measures and what tables show derive from the two. A field that is younger than the
    first studies has a default: trials from before it had that value, and so have the references.
    """

    adapter: Annotated[str, Axis(coordinate=ONE_HOT, load="{p.adapter}")]
    rank: Annotated[
        int,
        _ABOVE_0,
        Axis(coordinate=log2, setting="R{p.rank}", heading="rank", load="rank {p.rank}", is_of_adapter=True),
    ]
    alpha_ratio: Annotated[
        float, _ABOVE_0, Axis(coordinate=log, setting="A{p.alpha:.3g}", heading="alpha", is_of_adapter=True)
    ]
    targets: Annotated[str, Axis(coordinate=ONE_HOT, load="{p.targets}", is_of_adapter=True)]
    adapted_blocks: Annotated[
        AdaptedBlocks,
        Axis(coordinate=log2_or_all, load="adapted blocks {p.adapted_blocks}", is_of_adapter=True),
    ]
    dropout: Annotated[float, _SHARE, Axis(coordinate=linear, is_of_adapter=True)] = 0.0
    epochs: Annotated[int, _ABOVE_0, Axis(coordinate=log, setting="{p.epochs}", heading="epochs")]
    learning_rate: Annotated[float, _ABOVE_0, Axis(coordinate=log, is_of_adapter=True)]
    texture: Annotated[float, _SHARE, Axis(coordinate=linear, searched_in="synthesis_mix")]
    structural: Annotated[float, _SHARE, Axis(coordinate=linear, searched_in="synthesis_mix")]
    contextual: Annotated[float, _SHARE, Axis(coordinate=IMPLIED, searched_in="synthesis_mix")]
    synthesis_count: Annotated[int, _ABOVE_0, Axis(coordinate=log)]
    synthesis_intensity: Annotated[float, _ABOVE_0, Axis(coordinate=linear)]
    image_size_px: Annotated[
        int, _ABOVE_0, Axis(coordinate=log, setting="{p.image_size_px} px", load="{p.image_size_px} px")
    ]

    @property
    def has_adapter(self) -> bool:
        """Whether the network is adapted, and not only the heads trained."""
        return self.adapter != NO_ADAPTER

    def says(self, name: str) -> bool:
        """Return whether a parameter means anything: without an adapter, its rank does not."""
        return self.has_adapter or name not in _OF_ADAPTER

    @property
    def alpha(self) -> float:
        """LoRA's alpha, `alpha_ratio * rank`; the update is scaled by alpha / rank (rslora: / sqrt(rank))."""
        return self.alpha_ratio * self.rank

    @classmethod
    def from_json(cls, values: Mapping[str, Any], own_size_px: int) -> Self:
        """Read what is stored with a trial or a plan; what is younger than it has the value that it had then.

        What a newer program stored beside it is left out: a study that searched that is not read by this one.

        Args:
            values: by name.
            own_size_px: the image size of the spec, which is not stored in older studies that search none.

        Raises:
            ValueError: one is missing, or is nothing that could be trained with; they may have come in a file, or
                by somebody's hand.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"parameters should have names, and not be {show_value(values)}")
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        if known.get("image_size_px") is None:
            known["image_size_px"] = own_size_px
        try:
            found: Self = _make_reader().validate_json(json.dumps(known), strict=True)
        except ValidationError as error:
            raise ValueError(describe_first(error)) from None
        return found

    def to_json(self) -> dict[str, Any]:
        """Return what is stored with a trial or a plan."""
        return asdict(self)

    @classmethod
    def from_suggested(cls, suggested: Mapping[str, Any], own_size_px: int) -> Self:
        """Read what Optuna suggests: the mix arrives as two uniform numbers `mix_u1`, `mix_u2`.

        Args:
            suggested: by the names that Optuna knows.
            own_size_px: the image size of the spec, which is not suggested where the size is not searched.
        """
        values = {"image_size_px": own_size_px, **suggested}
        texture, structural, contextual = break_stick(values.pop("mix_u1"), values.pop("mix_u2"))
        return cls(**values, texture=texture, structural=structural, contextual=contextual)

    def to_suggested(self) -> dict[str, Any]:
        """Return the inverse of `from_suggested`, in which the image size stands also where it is not searched."""
        values = asdict(self)
        texture, structural, _ = (values.pop(kind) for kind in ("texture", "structural", "contextual"))
        mix_u1, mix_u2 = join_stick(texture, structural)
        return {**values, "mix_u1": mix_u1, "mix_u2": mix_u2}


@cache
def _make_reader() -> TypeAdapter[Any]:
    return TypeAdapter(Parameters)


def _read_stored(value: Any, info: ValidationInfo) -> Parameters | None:
    own_size_px: Any = info.context
    return None if value is None else Parameters.from_json(value, own_size_px)


AXES = read_axes(Parameters)
_OF_ADAPTER = frozenset(axis.name for axis in AXES if axis.is_of_adapter)
# What a stored plan has for an arm, None for the frozen network. Its reader's context is the spec's image size.
StoredParameters = Annotated[Parameters | None, BeforeValidator(_read_stored)]
