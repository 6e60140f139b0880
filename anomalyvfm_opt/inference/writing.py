"""A detector written as a folder that stands alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomalyvfm_opt.data.decoded import PADDING
from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.evaluation.scorer_bank import CalibratedBank, Scores
from anomalyvfm_opt.inference.adapter_files import pack_adapter
from anomalyvfm_opt.inference.card import AdapterCard, Card, GeometryCard, ThresholdsCard
from anomalyvfm_opt.inference.folder import BACKBONE, GUIDE, HEADS, MEMORY, SELFTEST, write_card, write_files
from anomalyvfm_opt.inference.guide import write_guide
from anomalyvfm_opt.inference.memory_file import describe_scoring, pack_memory
from anomalyvfm_opt.inference.opening import describe_backbone, list_heads
from anomalyvfm_opt.inference.scoring import score_frames
from anomalyvfm_opt.inference.selftest import pack_selftest
from anomalyvfm_opt.inference.tensors import pack_tensors
from anomalyvfm_opt.inference.thresholds import NormalScenes
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.model.device import name_device
from anomalyvfm_opt.model.memory import ShrinkingBatch

_TESTED = 4  # frames in the self-test


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All that a folder is made of.

    Args:
        detector: trained, or frozen.
        bank: fitted and calibrated.
        scorer: whose score is given.
        map_scorer: whose map is given with it.
        normal: the held-out normal scenes that thresholds are made of.
        thresholds: made of them.
        frames: n images, of which a few go into the self-test.
        scores: of these.
        provenance: where it comes from.
        backbone: the weights as a safetensors file, to be put in; None to refer to them by their hash.
    """

    detector: Detector
    bank: CalibratedBank
    scorer: str
    map_scorer: str
    normal: NormalScenes
    thresholds: ThresholdsCard
    frames: Frames
    scores: Scores
    provenance: Mapping[str, Any]
    backbone: bytes | None


def write_detector(folder: Path, contents: Contents, batch: ShrinkingBatch) -> Card:
    """Fill a folder that is being made with all files of a detector, and return its card.

    Raises:
        EnvironmentMissingError: the disk refuses, or is full.
    """
    detector = contents.detector
    tested = contents.frames.choose(_choose_tested(contents.scores.image[contents.scorer]))
    scores = score_frames(detector, contents.bank, tested, batch)
    files = {
        MEMORY: pack_memory(contents.bank.bank, contents.normal),
        SELFTEST: pack_selftest(tested, scores, contents.map_scorer),
    }
    adapter = detector.adapter
    if adapter is not None:
        files[HEADS] = pack_tensors(list_heads(detector))
        files |= pack_adapter(detector) if adapter.settings.changes_network else {}
    if contents.backbone is not None:
        files[BACKBONE] = contents.backbone
    card = Card(
        backbone=describe_backbone(detector.backbone),
        geometry=GeometryCard.of(contents.frames.geometry, PADDING),
        adapter=None
        if adapter is None
        else AdapterCard.model_validate({**vars(adapter.settings), "steps": adapter.steps}),
        scoring=describe_scoring(contents.bank, contents.scorer, contents.map_scorer),
        thresholds=contents.thresholds,
        device=name_device(detector.backbone.device),
        threads=torch.get_num_threads(),
        provenance=contents.provenance,
    )
    files[GUIDE] = write_guide(card, has_backbone=contents.backbone is not None, tested=len(tested)).encode()
    written = write_files(folder, files)
    whole = card.model_copy(update={"files": written})
    write_card(folder, whole)
    return whole


def _choose_tested(scores: np.ndarray) -> np.ndarray:
    """Return a few of n images from the lowest score to the highest: int (k,)."""
    order = np.argsort(scores, kind="stable")
    places = np.linspace(0, len(order) - 1, min(_TESTED, len(order))).round().astype(int)
    chosen: np.ndarray = np.sort(order[np.unique(places)])
    return chosen
