"""A detector out of its folder: it scores images as the trial did that trained it, by the same code."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import finalize

import numpy as np
import torch
from PIL import Image

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.evaluation.scorer_bank import Scores
from anomalyvfm_opt.inference.card import ThresholdsCard
from anomalyvfm_opt.inference.folder import MEMORY, read_card, read_file
from anomalyvfm_opt.inference.graph import Graph
from anomalyvfm_opt.inference.memory_file import unpack_memory
from anomalyvfm_opt.inference.opening import check_scoring, open_backbone, opened_detector
from anomalyvfm_opt.inference.pictures import HeatScale
from anomalyvfm_opt.inference.prediction import Prediction
from anomalyvfm_opt.inference.scoring import MapCells, score_frames
from anomalyvfm_opt.inference.sources import Framed, Source, frame_source, join_frames
from anomalyvfm_opt.inference.thresholds import check_share, set_thresholds
from anomalyvfm_opt.model.device import choose_device
from anomalyvfm_opt.model.device_faults import explained_device
from anomalyvfm_opt.model.memory import ShrinkingBatch

_BATCH = 32


class StandaloneDetector:
    """A detector that needs nothing but its folder, and the backbone's weights where they are not in it.

    Use it in a `with`, or `close` it; its memory is given back then, else when nothing refers to it any more.

    Args:
        folder: that `model export` made.
        weights: a safetensors file with the backbone's weights; None for those in the folder, or where the study
            had them from.
        device: that it computes on: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch: images that are looked at together, at least 1; fewer where they do not fit.
        false_positives: the share that thresholds promise, 0-1; None for that of the folder.

    Attributes:
        folder: of the detector.
        card: what stands in `detector.json`.
        batch_size: images that are looked at together.
        bank: its scorers, calibrated.
        normal: the held-out normal scenes.
        thresholds: above which an image, and a pixel, is anomalous.

    Raises:
        UsageError: a file is missing or was changed, or the weights are others.
        EnvironmentMissingError: weights or device are not to be had.
    """

    def __init__(
        self,
        folder: Path,
        *,
        weights: Path | None = None,
        device: str = "auto",
        batch: int = _BATCH,
        false_positives: float | None = None,
    ) -> None:
        if batch < 1:
            raise UsageError(f"a batch of {batch} images is too small", "give 1 or more")
        self.folder = folder
        self.card = card = read_card(folder)
        check_scoring(folder, card)
        chosen = choose_device(device)
        self.batch_size = batch
        self._batch = ShrinkingBatch(batch, chosen)
        self._stack = ExitStack()
        self._close = finalize(
            self, self._stack.close
        )  # also where a program ends: later torch's modules are gone
        try:
            with explained_device(chosen):
                backbone = open_backbone(folder, card, weights, chosen)
                self._detector = self._stack.enter_context(opened_detector(folder, card, backbone, batch))
                sizes = backbone.patch_channels, backbone.pooled_channels
                content = read_file(folder, MEMORY, card)
                self.bank, self.normal = unpack_memory(content, card.scoring, sizes, chosen, folder / MEMORY)
                self.thresholds = self._set_thresholds(false_positives)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def geometry(self) -> Geometry:
        """How images are brought to the network's input."""
        return self.card.geometry.geometry

    @property
    def device(self) -> torch.device:
        """What it computes on."""
        return self._detector.backbone.device

    @property
    def heat_scale(self) -> HeatScale:
        """The scale of overlays."""
        peaks, pixel = self.normal.peaks, self.thresholds.pixel
        return HeatScale(float(peaks.min()), float(peaks.max()) if pixel is None else pixel)

    def close(self) -> None:
        """Take the detector apart."""
        self._close()

    def predict(self, images: Iterable[Source] | Source) -> list[Prediction]:
        """Say of each image how anomalous it is, and where.

        Args:
            images: paths, arrays uint8 (h, w, 3) in RGB, or PIL images; or one of them.

        Raises:
            BadDataError: an image cannot be read; the message names it.
            UsageError: something that is no image, or the detector was closed.
        """
        return list(self.iterate(_to_list(images)))

    def iterate(self, images: Iterable[Source]) -> Iterator[Prediction]:
        """Do the same one after the other, in memory that does not grow with their number."""
        numbered = enumerate(images)
        while chunk := list(islice(numbered, self.batch_size)):
            framed = [frame_source(source, number, self.geometry) for number, source in chunk]
            yield from self.predict_framed(framed)

    def predict_framed(self, framed: Sequence[Framed]) -> list[Prediction]:
        """Say of each of some images in their frames how anomalous it is, and where."""
        if not framed:
            return []
        frames = join_frames(framed, self.geometry)
        scoring = self.card.scoring
        scores = self.score_frames(frames, {scoring.scorer, scoring.map_scorer})
        cells = MapCells.of(scores, scoring.map_scorer, frames)
        return [self._predict(index, one, frames, scores, cells) for index, one in enumerate(framed)]

    def score_frames(self, frames: Frames, wanted: Collection[str] | None = None) -> Scores:
        """Score frames by some scorers, or by every one that the detector has."""
        self._check_open()
        return score_frames(self._detector, self.bank, frames, self._batch, wanted)

    @contextmanager
    def traced(self) -> Iterator[Graph]:
        """Open the detector as one graph for the length of a `with`: all blocks run, the adapter merged."""
        self._check_open()
        detector, scoring = self._detector, self.card.scoring
        merged = detector.adapter.merged() if detector.adapter else nullcontext()
        with detector.seeing_pixels(), merged:
            yield Graph(detector, self.bank, scoring.scorer, scoring.map_scorer, self.geometry)

    def _check_open(self) -> None:
        """See that its adapter is in the network still: without it, scores would be those of another detector."""
        if not self._close.alive:
            raise UsageError(f"the detector of {self.folder} was closed", "open it anew with load_detector")

    def _set_thresholds(self, false_positives: float | None) -> ThresholdsCard:
        stored = self.card.thresholds
        if false_positives is None:
            return stored
        check_share(false_positives)
        found = set_thresholds(self.normal, false_positives, stored.best_f1, stored.caveat)
        if found.refused:
            raise UsageError(found.refused, "allow more, or export a detector of more held-out normal images")
        return found

    def _predict(self, index: int, framed: Framed, frames: Frames, scores: Scores, cells: MapCells) -> Prediction:
        thresholds, scorer = self.thresholds, self.card.scoring.scorer
        score = float(scores.image[scorer][index])
        return Prediction(
            image=framed.name,
            score=score,
            p_normal=self.normal.p_normal(score),
            is_anomalous=None if thresholds.score is None else score > thresholds.score,
            map=cells.cut(index),
            image_px=framed.image_px,
            content_px=framed.content_px,
            grid=(cells.maps.shape[1], cells.maps.shape[2]),
            pixel_threshold=thresholds.pixel,
            geometry=frames.geometry,
            notes=framed.notes,
        )


def _to_list(images: Iterable[Source] | Source) -> Iterable[Source]:
    """Return several images as they are, and one as a list of one."""
    is_one = isinstance(images, str | bytes | Path | Image.Image) or (
        isinstance(images, np.ndarray) and images.ndim != 4
    )
    if is_one:
        return [images]  # type: ignore[list-item]
    if not isinstance(images, Iterable):
        raise UsageError(
            f"{type(images).__name__} is no image and no list of images", "give paths, arrays or PIL images"
        )
    return images
