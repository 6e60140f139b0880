"""From the files of a folder to a detector in memory: the backbone by its hash, then adapter and heads."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.evaluation.scorers import ENSEMBLE, SCORERS, list_parts
from anomalyvfm_opt.inference.adapter_files import fill_adapter
from anomalyvfm_opt.inference.card import BackboneCard, Card
from anomalyvfm_opt.inference.folder import ADAPTER_MODEL, AGAIN, BACKBONE, CARD, HEADS, read_file
from anomalyvfm_opt.inference.tensors import check_shapes, unpack_tensors
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.model.device_faults import make_on_device
from anomalyvfm_opt.model.heads import find_decoder_width
from anomalyvfm_opt.model.prefix import BATCH as PREFIX_BATCH
from anomalyvfm_opt.model.prefix import Prefix


def open_backbone(folder: Path, card: Card, weights: Path | None, device: torch.device) -> Backbone:
    """Open the backbone of a detector, with the weights that it was exported with.

    Args:
        folder: of the detector.
        card: of the same.
        weights: a file instead of what the card says.
        device: where it is to live.

    Raises:
        UsageError: the weights are others.
        EnvironmentMissingError: they are not to be had, or do not fit into the device's memory.
    """
    known, source = card.backbone, _find_weights(folder, card, weights)

    def load() -> Backbone:
        return Backbone(
            name=known.name,
            weights=source,
            decoder_blocks=known.decoder_blocks,
            patch_blocks=known.patch_blocks,
            image_size_px=card.geometry.tile_px,
            device=device,
        )

    loaded = make_on_device(known.name, load, device)
    if loaded.weights_sha256 != known.weights_sha256:
        raise UsageError(
            f"the weights of {known.name} from {source} ({loaded.weights_sha256[:12]}) are not those of the"
            f" detector in {folder} ({known.weights_sha256[:12]})",
            "give the file that it was trained with: --weights FILE",
        )
    return loaded


@contextmanager
def opened_detector(folder: Path, card: Card, backbone: Backbone, batch: int) -> Iterator[Detector]:
    """Open the detector of a folder, inside its backbone for the length of a `with`.

    Its frozen blocks run as in a trial, in batches of one size: products of matrices of another shape differ in
    their last bits, and a Gaussian of many dimensions makes much of them. A smaller batch than that one would be
    filled up with blanks each time, so there all blocks run at once.

    Args:
        folder: of the detector.
        card: of the same.
        backbone: of the same.
        batch: images that are looked at together.

    Raises:
        UsageError: a file was changed, or is of another detector.
    """

    def open_prefix(whole: Backbone, blocks: int) -> Prefix | None:
        return Prefix(whole, blocks, store=None) if blocks and batch >= PREFIX_BATCH else None

    adapter = card.adapter
    if adapter is None:
        yield Detector(backbone, prefix=open_prefix(backbone, backbone.n_blocks)).eval()
        return
    heads = unpack_tensors(read_file(folder, HEADS, card), folder / HEADS)
    width = find_decoder_width(heads)
    with build_detector(backbone, adapter.settings, 0, adapter.steps, open_prefix, width) as detector:
        if adapter.settings.changes_network:
            trained = unpack_tensors(read_file(folder, ADAPTER_MODEL, card), folder / ADAPTER_MODEL)
            fill_adapter(detector, trained, folder / ADAPTER_MODEL)
        own = list_heads(detector)
        check_shapes(heads, dict(own), folder / HEADS)
        for name, parameter in own.items():
            parameter.data.copy_(heads[name])
        yield detector


def check_scoring(folder: Path, card: Card) -> None:
    """See that a card's scorers can be asked: by its own adapter, with a map, and with the ensemble's scales.

    Raises:
        UsageError: what the card says cannot be.
    """
    has_heads, scoring = card.adapter is not None, card.scoring
    own = [scorer for scorer in SCORERS if has_heads or not scorer.needs_heads]
    joined = {part.name for part in list_parts(ENSEMBLE, has_heads)}
    is_scored = scoring.scorer in (ENSEMBLE, *(scorer.name for scorer in own))
    if not is_scored or scoring.map_scorer not in [scorer.name for scorer in own if scorer.has_map]:
        raise UsageError(
            f"{folder / CARD}: no such detector has scores by {scoring.scorer} and maps by {scoring.map_scorer}",
            AGAIN,
        )
    if lacking := sorted(joined - set(scoring.scales)):
        raise UsageError(f"{folder / CARD}: scoring.scales lacks {', '.join(lacking)}", AGAIN)


def list_heads(detector: Detector) -> dict[str, nn.Parameter]:
    """List the parameters of both heads: `decoder.<name>`, `predictor.<name>`."""
    heads = {"decoder": detector.decoder, "predictor": detector.predictor}
    return {
        f"{head}.{name}": parameter
        for head, module in heads.items()
        if module is not None
        for name, parameter in module.named_parameters()
    }


def describe_backbone(backbone: Backbone) -> BackboneCard:
    """Return the card of a backbone; of weights from a file only that they are from one."""
    config = backbone.network.pretrained_cfg
    source = backbone.weights if backbone.weights in ("pretrained", "offline", "random") else "file"
    return BackboneCard.model_validate(
        {
            "name": backbone.name,
            "weights": source,
            "weights_sha256": backbone.weights_sha256,
            "decoder_blocks": backbone.decoder_blocks,
            "patch_blocks": backbone.patch_blocks,
            "mean": tuple(config["mean"]),
            "std": tuple(config["std"]),
        }
    )


def _find_weights(folder: Path, card: Card, weights: Path | None) -> str:
    if weights is not None:
        return str(weights)
    if BACKBONE in card.files:
        return str(folder / BACKBONE)
    known = card.backbone
    if known.weights == "file":
        raise EnvironmentMissingError(
            f"the weights of {known.name} are not in {folder}: they came from a file, whose tensors hash to"
            f" {known.weights_sha256[:12]}",
            "give that file: --weights FILE, or export the detector by --with-backbone",
        )
    return known.weights
