"""The parameters that a spec lets Optuna choose, and their default ranges."""

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

LARGEST_IMAGE_PX = 8192
INTENSITIES = (0.33, 0.67, 1.0, 1.17, 1.5)  # of the pools of synthetic anomalies
SHARES_TOLERANCE = 1e-6
_LARGEST_DENOMINATOR = 100
_ROUNDING = 5e-7  # of six decimals


def _check_intensity(value: float) -> float:
    if value not in INTENSITIES:
        raise ValueError(f"{value} is not an intensity level; the levels are {', '.join(map(str, INTENSITIES))}")
    return value


Adapter = Literal["lora", "rslora", "dora", "adalora", "none"]
NO_ADAPTER: Adapter = "none"  # heads alone, on the frozen network
Targets = Literal["attention", "attention_mlp"]
AdaptedBlocks = Annotated[int, Field(ge=1)] | Literal["all"]
ImageSizePx = Annotated[int, Field(ge=32, le=LARGEST_IMAGE_PX)]
Intensity = Annotated[
    float, AfterValidator(_check_intensity), Field(json_schema_extra={"enum": list(INTENSITIES)})
]


def is_misplaced_boolean(value: Any, annotation: Any) -> bool:
    """Return whether a value of a spec, or an entry of a list, is true or false where something else is wanted."""
    values = value if isinstance(value, list) else [value]
    return annotation is not bool and any(isinstance(each, bool) for each in values)


class Section(BaseModel):
    """A part of a spec: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where a number is wanted: Python would take them for 1 and 0."""
        if is_misplaced_boolean(value, cls.model_fields[info.field_name or ""].annotation):
            raise PydanticCustomError("no_boolean", "something else than true or false")
        return value


class FloatRange(Section):
    """A closed interval of real numbers, sampled uniformly or on a log scale."""

    low: float = Field(gt=0, description="least value; equal to high, it is fixed")
    high: float = Field(gt=0, description="greatest value, itself among them")
    log: bool = Field(False, description="sample the logarithm uniformly: for what acts by factors")


class IntRange(Section):
    """A closed interval of whole numbers, sampled uniformly or on a log scale."""

    low: int = Field(ge=1, description="least value; equal to high, it is fixed")
    high: int = Field(ge=1, description="greatest value, itself among them")
    log: bool = Field(False, description="sample the logarithm uniformly: for what acts by factors")


class Shares(Section):
    """Fixed shares of the three kinds of synthetic anomalies; they sum to 1."""

    texture: float = Field(ge=0, le=1, description="share with foreign texture on a patch, 0-1")
    structural: float = Field(ge=0, le=1, description="share with a foreign shape: circle, rectangle or line, 0-1")
    contextual: float = Field(ge=0, le=1, description="share with a patch of another normal image, 0-1")

    @property
    def total(self) -> float:
        """Sum of the three, as written."""
        return self.texture + self.structural + self.contextual

    def exact(self) -> tuple[float, float, float]:
        """Texture, structural, contextual; a simple fraction in six decimals, such as 0.333333, is that fraction.

        So shares that are written in decimals equal those of a reference, which come from counts of images.
        """
        texture, structural, contextual = map(_simplify, (self.texture, self.structural, self.contextual))
        return texture, structural, contextual


def _simplify(share: float) -> float:
    near = float(Fraction(share).limit_denominator(_LARGEST_DENOMINATOR))
    return near if abs(near - share) <= _ROUNDING else share


class Space(Section):
    """What may vary between trials: one field a parameter, with a list of choices or a range."""

    adapter: tuple[Adapter, ...] = Field(
        ("lora", "rslora", "dora", "adalora"),
        min_length=1,
        description="choices: rslora scales the update by alpha / sqrt(rank), the others by alpha / rank;"
        " adalora moves ranks between layers; none trains the heads alone, and rank, alpha_ratio, targets,"
        " adapted_blocks, dropout and learning_rate then mean nothing",
    )
    rank: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (2, 4, 8, 16, 32, 64),
        min_length=1,
        description="choices: rank of the update, adalora's on average; none above the smallest layer that can be"
        " adapted",
    )
    alpha_ratio: FloatRange = Field(
        FloatRange(low=0.25, high=4.0, log=True),
        description="range: alpha / rank, since alpha free of rank would be confounded with it",
    )
    targets: tuple[Targets, ...] = Field(
        ("attention", "attention_mlp"),
        min_length=1,
        description="choices: which layers of a block; on a CNN its projecting, or all of its 1x1 convolutions",
    )
    adapted_blocks: tuple[AdaptedBlocks, ...] = Field(
        (2, 4, 6, "all"),
        min_length=1,
        description="choices: how many blocks, counted from the last one that a feature is read from, or all",
    )
    dropout: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        (0.0,),
        min_length=1,
        description="choices: share of the adapter's input that is set to 0 while it is trained, 0-1",
    )
    image_size_px: tuple[ImageSizePx, ...] = Field(
        (),
        description="choices: side (px) that images are resized to, data.image_size_px among them;"
        " empty: not searched, all trials have data.image_size_px; with lock: half only",
    )
    epochs: IntRange = Field(
        IntRange(low=2, high=20, log=True), description="range: epochs of training.steps_per_epoch steps"
    )
    learning_rate: FloatRange = Field(
        FloatRange(low=3e-5, high=2e-3, log=True), description="range: of the adapter; below 1"
    )
    synthesis_mix: Literal["simplex", "thirds"] | Shares = Field(
        "simplex",
        description="shares of texture, structural and contextual anomalies: simplex searches all mixes,"
        " thirds is a third each, a mapping of the three fixes them",
    )
    synthesis_count: IntRange = Field(
        IntRange(low=30, high=300, log=True),
        description="range: synthetic anomalies (images) that a trial trains on; high also sizes the pools",
    )
    synthesis_intensity: tuple[Intensity, ...] = Field(
        INTENSITIES,
        min_length=1,
        description="choices: strength of the synthetic anomalies; 1.0 is noise of SD 30 / 255",
    )
