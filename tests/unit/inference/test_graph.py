"""What a graph makes of tiles and padding is what a trial makes of them in NumPy: every scorer, no ONNX yet."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.evaluation.coreset import choose_coreset
from anomalyvfm_opt.evaluation.features import TileFeatures, extract_features
from anomalyvfm_opt.evaluation.scorer_bank import CalibratedBank, ScorerBank
from anomalyvfm_opt.evaluation.scorers import SCORERS, Features, PatchMemory, list_parts
from anomalyvfm_opt.evaluation.stitching import mark_content
from anomalyvfm_opt.inference.graph import Graph
from anomalyvfm_opt.inference.scoring import choose_map_scorer, score_frames
from anomalyvfm_opt.inference.selftest import measure_difference
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.model.memory import ShrinkingBatch
from tests.unit.inference.folders import FAMILIES, trained

NAMES = ("predictor", "decoder", "mahalanobis", "patch_knn", "ensemble")
GEOMETRIES = {
    "one tile": Geometry.square(64),
    "one tile, padded": Geometry.square(64, keeps_aspect=True),
    "tiles": Geometry((96, 128), 64, 32),
    "tiles, padded": Geometry((96, 160), 64, 32, keeps_aspect=True),
}


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    with trained(Backbone(*FAMILIES["vit"]), "lora") as made:
        yield made


def draw_frames(geometry: Geometry, seed: int) -> Frames:
    """Six frames of noise; of padded ones, some have whole tiles of padding."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (6, *geometry.frame_px, 3), dtype=np.uint8)
    content_px = np.tile(np.array(geometry.frame_px, np.int64), (6, 1))
    if geometry.keeps_aspect:
        content_px[1:] = np.stack([rng.integers(16, side + 1, 5) for side in geometry.frame_px], axis=1)
    return Frames(pixels, content_px, geometry)


def fit(detector: Detector, geometry: Geometry, batch: ShrinkingBatch) -> CalibratedBank:
    frames = draw_frames(geometry, 0)

    def extract(with_heads: bool = True) -> TileFeatures:
        return extract_features(detector, frames, batch, with_heads)

    return ScorerBank.fit(extract(False), choose_coreset(extract(False), 700, 0)).calibrate(extract())


@pytest.mark.parametrize("name", GEOMETRIES)
def test_scores_and_maps_are_those_of_a_trial(detector: Detector, name: str) -> None:
    geometry, batch = GEOMETRIES[name], ShrinkingBatch(4, "cpu")
    bank, frames = fit(detector, geometry, batch), draw_frames(geometry, 1)
    wanted = score_frames(detector, bank, frames, batch)
    images = torch.from_numpy(frames.pixels)
    content_px = torch.from_numpy(frames.content_px) if geometry.keeps_aspect else None
    for scorer in NAMES:
        map_scorer = choose_map_scorer(scorer, has_heads=True)
        graph = Graph(detector, bank, scorer, map_scorer, geometry).eval()
        with torch.no_grad():
            score, heat = graph(images, content_px)
        assert measure_difference(wanted.image[scorer], score.numpy()).max() < 1e-5, scorer
        maps = wanted.maps[map_scorer]
        is_content = mark_content(frames, (maps.shape[1], maps.shape[2]))
        assert heat.shape == (6, 1, *maps.shape[1:])
        np.testing.assert_allclose(heat[:, 0].numpy()[is_content], maps[is_content], rtol=1e-4, atol=1e-4)


def test_patches_are_compared_with_all_that_are_remembered_part_by_part() -> None:
    generator = torch.Generator().manual_seed(0)
    (scorer,) = list_parts("patch_knn", has_heads=False)
    patches = torch.rand(3, 4, 5, 16, generator=generator)
    batch = Features(patches=patches, pooled=torch.zeros(3, 1))
    assert scorer.trace is not None
    for remembered in (1, 511, 512, 513, 1300):
        memory = PatchMemory.of(torch.rand(remembered, 16, generator=generator))
        torch.testing.assert_close(scorer.trace(memory, batch), scorer.compute(memory, batch))


def test_the_ensemble_has_the_parts_that_a_detector_has() -> None:
    assert [one.name for one in list_parts("ensemble", has_heads=True)] == [one.name for one in SCORERS]
    assert [one.name for one in list_parts("ensemble", has_heads=False)] == ["mahalanobis", "patch_knn"]
    assert list_parts("nonsense", has_heads=True) == []
