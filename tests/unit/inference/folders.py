"""Folders of small real detectors, trained or frozen, as `model export` writes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.evaluation.coreset import choose_coreset
from anomalyvfm_opt.evaluation.features import TileFeatures, extract_features
from anomalyvfm_opt.evaluation.scorer_bank import ScorerBank, Scores
from anomalyvfm_opt.inference.folder import created_whole
from anomalyvfm_opt.inference.scoring import MapCells, choose_map_scorer, score_frames
from anomalyvfm_opt.inference.tensors import pack_tensors
from anomalyvfm_opt.inference.thresholds import NormalScenes, set_thresholds
from anomalyvfm_opt.inference.writing import Contents, write_detector
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.model.memory import ShrinkingBatch
from tests.unit.training.detectors import draw_images, make_frames, plan, train

FAMILIES = {
    "cnn": ("tf_efficientnet_lite0", "offline", (1, 2), (2, 3), 64),
    "vit": ("test_vit.r160_in1k", "random", (0,), (0, 1), 64),
}


@dataclass(frozen=True)
class Exported:
    """A folder, and the scores of some images by the detector that it was made of."""

    folder: Path
    frames: Frames
    scores: Scores

    @property
    def pixels(self) -> np.ndarray:
        """The frames' pixels, uint8 (n, h, w, 3)."""
        return self.frames.pixels


@contextmanager
def trained(backbone: Backbone, kind: str | None) -> Iterator[Detector]:
    """A detector that learned for a few steps; None for the frozen network."""
    if kind is None:
        yield Detector(backbone).eval()
        return
    schedule = plan(epochs=2, steps_per_epoch=3)
    settings = AdapterSettings(
        kind=kind, rank=2, alpha=4.0, targets="attention_mlp", adapted_blocks=2, dropout=0.1
    )
    with build_detector(backbone, settings, seed=1, steps=schedule.steps) as detector:
        train(detector, draw_images(backbone.image_size_px), schedule)
        yield detector.eval()


def reframe(frames: Frames, geometry: Geometry) -> Frames:
    """Fill frames of a geometry with images, over and over; where padding may be, half of every other one is."""
    height, width = geometry.frame_px
    count, own = len(frames), frames.pixels.shape[1]
    over = (1, -(-height // own), -(-width // own), 1)
    content_px = np.tile(np.array(geometry.frame_px, np.int64), (count, 1))
    if geometry.keeps_aspect:
        content_px[1::2, 1] //= 2
    return Frames(np.tile(frames.pixels, over)[:, :height, :width], content_px, geometry)


def export(
    folder: Path,
    family: str,
    kind: str | None,
    scorer: str = "patch_knn",
    with_backbone: bool = False,
    geometry: Geometry | None = None,
) -> Exported:
    """Train, score, and write the folder."""
    backbone = Backbone(*FAMILIES[family])
    weights = pack_tensors(backbone.network.state_dict()) if with_backbone else None
    images = draw_images(backbone.image_size_px)
    geometry = geometry or images.normal.geometry
    frames, normal_frames = (reframe(each, geometry) for each in (make_frames(images.anomalous), images.normal))
    with trained(backbone, kind) as detector:
        batch = ShrinkingBatch(4, backbone.device)

        def extract(with_heads: bool = True) -> TileFeatures:
            return extract_features(detector, normal_frames, batch, with_heads)

        bank = ScorerBank.fit(extract(False), choose_coreset(extract(False), 64, 0)).calibrate(extract())
        held_out, scores = (score_frames(detector, bank, each, batch) for each in (normal_frames, frames))
        map_scorer = choose_map_scorer(scorer, detector.decoder is not None)
        cells = MapCells.of(held_out, map_scorer, normal_frames)
        names = [str(index) for index in range(len(normal_frames))]
        normal = NormalScenes.group(held_out.image[scorer], cells.find_peaks(), names)
        contents = Contents(
            detector=detector,
            bank=bank,
            scorer=scorer,
            map_scorer=map_scorer,
            normal=normal,
            thresholds=set_thresholds(normal, 0.2, None),
            frames=frames,
            scores=scores,
            provenance={"study": "tiny/brick", "trial": 3},
            backbone=weights,
        )
        with created_whole(folder) as part:
            write_detector(part, contents, batch)
    return Exported(folder, frames, scores)
