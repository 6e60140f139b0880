"""The backbones that a worker keeps in memory, and whether their weights are those of a study."""

from pathlib import Path
from typing import Protocol

import torch

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.device_faults import make_on_device
from anomalyvfm_opt.model.network import differ_by_size_only
from anomalyvfm_opt.spec.model import BackboneSection, Spec


class Weighted(Protocol):
    """What a stored study says of its backbone: `StudyRecord` is one."""

    @property
    def name(self) -> str:
        """The name of the study, for messages."""

    @property
    def spec(self) -> Spec:
        """The spec that the study was created with."""

    @property
    def weights_sha256(self) -> str:
        """The hash of the weights that the study was created with, hexadecimal."""


class Backbones:
    """Backbones by what they are and what they see, loaded when first needed.

    A CNN is in memory once, whatever the sizes of its inputs. timm fits a ViT's position embeddings to the
    size, so there is one ViT for each.

    Args:
        device: where they live.
        weights: a file with their weights; None for what the spec says.
    """

    def __init__(self, device: torch.device, weights: Path | None) -> None:
        self._device = device
        self._weights = weights
        self._kept: dict[tuple[BackboneSection, int], Backbone] = {}

    def open(self, spec: Spec) -> Backbone:
        """Return the backbone of a spec, for inputs of its size.

        Raises:
            AnomalyVFMOptError: as `load_backbone`.
        """
        key = (spec.backbone, spec.data.input_size_px)
        if key not in self._kept:
            same = (kept for (section, _), kept in self._kept.items() if section == spec.backbone)
            twin = next((kept for kept in same if kept.takes_any_size), None)
            self._kept[key] = twin.at_size(key[1]) if twin else load_backbone(spec, self._device, self._weights)
        return self._kept[key]

    def open_for(self, study: Weighted, spec: Spec) -> Backbone:
        """Return the backbone of a study's trials at one of its image sizes, with the weights of the study.

        A study's hash is that of its weights fitted to its own size. Fitted to another, a ViT hashes otherwise:
        its tensors are compared with those instead, but for the fitted ones.

        Args:
            study: the study as it is stored.
            spec: its spec, or that at another size.

        Raises:
            UsageError: the weights are not those of the study.
        """
        own = self.open(study.spec)
        if own.weights_sha256 != study.weights_sha256:
            raise UsageError(
                f"the weights of {own.name} here ({own.weights_sha256[:12]}) are not those of"
                f" {study.name} ({study.weights_sha256[:12]}), so this worker does not join",
                "give it the same weights file, or create the study anew",
            )
        backbone = self.open(spec)
        # random weights are drawn anew with each size
        if not (backbone.is_random or differ_by_size_only(own.network, backbone.network)):
            raise UsageError(
                f"the weights of {own.name} at {spec.data.input_size_px} px are not those at"
                f" {study.spec.data.input_size_px} px: the file was changed while this worker ran",
                "give it the same weights file, and start the worker again",
            )
        return backbone


def load_backbone(spec: Spec, device: torch.device, weights: Path | None = None) -> Backbone:
    """Load the backbone that a spec names, with its weights, or with those of a file instead.

    Raises:
        UsageError: it cannot be used.
        EnvironmentMissingError: its weights are not to be had, or the device cannot take it.
    """
    section = spec.backbone

    def load() -> Backbone:
        return Backbone(
            name=section.name,
            weights=str(weights) if weights else section.weights,
            decoder_blocks=section.decoder_blocks,
            patch_blocks=section.patch_blocks,
            image_size_px=spec.data.input_size_px,
            device=device,
        )

    return make_on_device(section.name, load, device)
