"""The parameters that a spec lets Optuna choose, and their default ranges."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

INTENSITIES = (0.33, 0.67, 1.0, 1.17, 1.5)  # of the pools of synthetic anomalies


def _check_intensity(value: float) -> float:
    if value not in INTENSITIES:
        raise ValueError(f"{value} is not an intensity level; the levels are {list(INTENSITIES)}")
    return value


Adapter = Literal["lora", "rslora", "dora"]
Targets = Literal["attention", "attention_mlp"]
AdaptedBlocks = Annotated[int, Field(ge=1)] | Literal["all"]
Intensity = Annotated[float, AfterValidator(_check_intensity)]


class Section(BaseModel):
    """A part of a spec: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FloatRange(Section):
    """A closed interval of real numbers, sampled uniformly or on a log scale."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        _check_range(self.low, self.high, self.log)
        return self


class IntRange(Section):
    """A closed interval of whole numbers, sampled uniformly or on a log scale."""

    low: int
    high: int
    log: bool = False

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        _check_range(self.low, self.high, self.log)
        return self


def _check_range(low: float, high: float, is_log: bool) -> None:
    if low > high:
        raise ValueError(f"low {low} is above high {high}")
    if low <= 0:
        raise ValueError(f"low {low} must be above 0" + (" for a log scale" if is_log else ""))


class Space(Section):
    """One field a parameter: a list of choices, or a range."""

    adapter: tuple[Adapter, ...] = Field(("lora", "rslora", "dora"), min_length=1)
    rank: tuple[Annotated[int, Field(ge=1)], ...] = Field((2, 4, 8, 16, 32, 64), min_length=1)
    alpha_ratio: FloatRange = FloatRange(low=0.25, high=4.0, log=True)
    targets: tuple[Targets, ...] = Field(("attention", "attention_mlp"), min_length=1)
    adapted_blocks: tuple[AdaptedBlocks, ...] = Field((2, 4, 6, "all"), min_length=1)
    epochs: IntRange = IntRange(low=2, high=20, log=True)
    learning_rate: FloatRange = FloatRange(low=3e-5, high=2e-3, log=True)
    synthesis_mix: Literal["simplex", "thirds"] = "simplex"
    synthesis_count: IntRange = IntRange(low=30, high=300, log=True)
    synthesis_intensity: tuple[Intensity, ...] = Field(INTENSITIES, min_length=1)

    @model_validator(mode="after")
    def _check_choices_differ(self) -> Self:
        for name in ("adapter", "rank", "targets", "adapted_blocks", "synthesis_intensity"):
            choices = getattr(self, name)
            if len(set(choices)) < len(choices):
                raise ValueError(f"{name} lists a choice twice: {list(choices)}")
        return self
