"""`detector.json`: what a detector's folder holds, what it belongs to, and what its thresholds promise."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.spec.model import ScorerName
from anomalyvfm_opt.spec.space import Adapter

SCHEMA = 1
KIND = "anomalyvfm-opt detector folder"

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Pixels = Annotated[int, Field(ge=1, le=65_536)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Share = Annotated[float, Field(gt=0, lt=1)]
_Byte = Annotated[int, Field(ge=0, le=255)]


class _Part(BaseModel):
    """A part of the card; keys that this version does not know are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class BackboneCard(_Part):
    """Which network, by the hash of its weights fitted to the detector's input.

    Args:
        name: in timm.
        weights: where they came from: `pretrained`, `offline`, `random`, or `file`.
        weights_sha256: of names, shapes and values of all tensors.
        decoder_blocks, patch_blocks: whose maps are read, counted from 0.
        mean, std: that an input (0-1) is normalised with, by channel.
    """

    name: str = Field(min_length=1)
    weights: Literal["pretrained", "offline", "random", "file"]
    weights_sha256: _Sha256
    decoder_blocks: Annotated[tuple[int, ...], Field(min_length=1)]
    patch_blocks: Annotated[tuple[int, ...], Field(min_length=1)]
    mean: tuple[_Finite, _Finite, _Finite]
    std: tuple[_Positive, _Positive, _Positive]


class GeometryCard(_Part):
    """How an image is brought to the network's input; see `data.geometry.Geometry`."""

    frame_px: tuple[_Pixels, _Pixels]
    tile_px: _Pixels
    stride_px: _Pixels
    keeps_aspect: bool
    resize: Literal["bicubic, antialiased (Pillow)"] = "bicubic, antialiased (Pillow)"
    padding_rgb: tuple[_Byte, _Byte, _Byte]

    @classmethod
    def of(cls, geometry: Geometry, padding_rgb: tuple[int, int, int]) -> Self:
        """Return the card of a geometry."""
        return cls(**vars(geometry), padding_rgb=padding_rgb)

    @property
    def geometry(self) -> Geometry:
        """The geometry itself."""
        return Geometry(self.frame_px, self.tile_px, self.stride_px, self.keeps_aspect)

    @model_validator(mode="after")
    def _check_tiles(self) -> Self:
        if any(side < self.tile_px or (side - self.tile_px) % self.stride_px for side in self.frame_px):
            raise ValueError("tiles of tile_px every stride_px px do not cover frame_px")
        return self


class AdapterCard(_Part):
    """Which adapter is in the network; see `model.adapter_kinds.AdapterSettings`."""

    kind: Adapter
    rank: Annotated[int, Field(ge=1, le=65_536)]
    alpha: _Finite
    targets: Literal["attention", "attention_mlp"]
    adapted_blocks: Annotated[int, Field(ge=1)] | Literal["all"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    steps: Annotated[int, Field(ge=0)]

    @property
    def settings(self) -> AdapterSettings:
        """The settings themselves."""
        return AdapterSettings(**self.model_dump(exclude={"steps"}))


class Scale(_Part):
    """Median and robust standard deviation of a scorer's scores of held-out normal images."""

    location: _Finite
    scale: _Positive


class ScoringCard(_Part):
    """Which score is given, and what the ensemble compares by.

    Args:
        scorer: whose score it is.
        map_scorer: whose map is given with it: the scorer's own, or where it has none that of a relative.
        scales: by scorer.
        gaussian_images, gaussian_shrinkage: what the Gaussian was fitted to, and how far it was shrunk (0-1).
    """

    scorer: ScorerName
    map_scorer: ScorerName
    scales: Mapping[ScorerName, Scale]
    gaussian_images: Annotated[int, Field(ge=1)]
    gaussian_shrinkage: Annotated[float, Field(ge=0, le=1)]


class BestF1(_Part):
    """The threshold of best F1 on labelled images, which were searched on: it promises nothing of new ones.

    Args:
        threshold: above it is anomalous.
        f1: that it reaches there, 0-1.
        low, high: 95 % interval of the threshold, over draws of whole scenes.
        good, bad: how many images of either kind.
    """

    threshold: _Finite
    f1: Annotated[float, Field(ge=0, le=1)]
    low: _Finite
    high: _Finite
    good: Annotated[int, Field(ge=1)]
    bad: Annotated[int, Field(ge=1)]


class ThresholdsCard(_Part):
    """What is called anomalous, and what that promises.

    Args:
        false_positives: at most this share of normal scenes is called anomalous, if they are like the held-out
            ones.
        scenes: held-out normal scenes, whose scores are in `memory.safetensors`.
        rank: which of them, from the lowest, is the threshold.
        score: above it an image is anomalous; None where there are too few scenes to promise that.
        pixel: above it a pixel of the map is anomalous: at most that share of normal scenes has any such pixel.
        refused: why there is no threshold; empty if there is one.
        caveat: what weakens the promise; empty for nothing.
        best_f1: beside it; None where no labelled images could be searched on.
    """

    false_positives: _Share
    scenes: Annotated[int, Field(ge=1)]
    rank: Annotated[int, Field(ge=1)] | None
    score: _Finite | None
    pixel: _Finite | None
    refused: str
    caveat: str
    best_f1: BestF1 | None


class TensorCard(_Part):
    """What goes into a graph, or comes out of it: `n` in a shape stands for any number of frames."""

    dtype: Literal["uint8", "int64", "float32"]
    shape: tuple[int | Literal["n"], ...]
    meaning: str


class GraphCard(_Part):
    """What `detector.onnx` is.

    Args:
        opset: of ONNX's operations.
        inputs, outputs: by name.
        proof: how far its scores and maps lie from torch's, and its AUROC beside torch's.
    """

    opset: Annotated[int, Field(ge=1)]
    inputs: Mapping[str, TensorCard]
    outputs: Mapping[str, TensorCard]
    proof: Mapping[str, Any]


class FileCard(_Part):
    """A file of the folder."""

    sha256: _Sha256
    size_bytes: Annotated[int, Field(ge=0)]


class Card(_Part):
    """All of `detector.json`.

    Args:
        kind, schema_number: what the file is.
        backbone, geometry, adapter, scoring, thresholds: what the detector is; without adapter the frozen network.
        device: kind of the device that memory and self-test were computed on.
        threads: of the CPU, with which sums are taken in another order.
        provenance: study, trial, seed, parameters, hashes of the data, versions, verdict: for people.
        proof: how far the scores of the rebuilt detector lie from those that the trial stored; empty where nothing
            was compared.
        onnx: what `detector.onnx` is; None where there is none.
        files: every other file of the folder, by its path in it.
    """

    kind: Literal["anomalyvfm-opt detector folder"] = "anomalyvfm-opt detector folder"
    schema_number: Literal[1] = Field(1, alias="schema")
    backbone: BackboneCard
    geometry: GeometryCard
    adapter: AdapterCard | None
    scoring: ScoringCard
    thresholds: ThresholdsCard
    device: str
    threads: Annotated[int, Field(ge=1)]
    provenance: Mapping[str, Any] = {}
    proof: Mapping[str, Any] = {}
    onnx: GraphCard | None = None
    files: Mapping[str, FileCard] = {}

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in the file."""
        content: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return content
