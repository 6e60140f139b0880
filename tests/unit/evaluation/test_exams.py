"""How a study's exams are divided: no image both calibrates and sits one."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.data.layout import read_category
from anomalyvfm_opt.data.split import Split, divide
from anomalyvfm_opt.errors import BadDataError
from anomalyvfm_opt.evaluation.exam import Exam, Exams
from anomalyvfm_opt.evaluation.exam_papers import count_frames, set_exams, set_locked
from anomalyvfm_opt.evaluation.scorer_bank import Scores

SIDE_PX = 32
ANOMALIES = 9
GEOMETRY = Geometry.square(SIDE_PX)


def write_images(
    folder: Path, count: int, rng: np.random.Generator, is_black: bool = False, height_px: int = SIDE_PX
) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        pixels = rng.integers(0, 1 if is_black else 256, (height_px, SIDE_PX, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")


def make_split(folder: Path, held_out: int, lock: str, is_black: bool = False, height_px: int = SIDE_PX) -> Split:
    rng = np.random.default_rng(0)
    root = folder / "tile"
    write_images(root / "train" / "good", 4, rng)
    write_images(root / "validation" / "good", held_out, rng, is_black, height_px)
    for label in ("good", "bad"):
        write_images(root / "test_public" / label, 20, rng)
    return divide(read_category(folder, "tile"), lock)


def set_them(folder: Path, split: Split) -> Exams:
    return set_exams(ArrayStore(folder / "cache"), split, GEOMETRY, ANOMALIES)


@pytest.mark.parametrize("held_out", [4, 7, 8])
def test_no_held_out_image_both_calibrates_and_sits(tmp_path: Path, held_out: int) -> None:
    split = make_split(tmp_path, held_out, "half")
    exams = set_them(tmp_path, split)
    assert exams.labelled is not None
    assert exams.synthetic is not None
    assert exams.deciding is exams.labelled
    assert len(exams.labelled.calibration) == held_out  # all: none of them is among the search images
    assert exams.labelled.keys == tuple(record.key for record in split.search)
    sitting = exams.synthetic.images
    calibrating = [exams.synthetic.calibration.read(i).tobytes() for i in range(len(exams.synthetic.calibration))]
    normal = [sitting.read(i).tobytes() for i in np.flatnonzero(exams.synthetic.labels == 0)]
    assert len(calibrating) + len(normal) == held_out
    assert not set(calibrating) & set(normal)
    assert set(exams.synthetic.keys[: len(normal)]) == {record.key for record in split.held_out[1::2]}
    assert len(sitting) == count_frames(held_out, ANOMALIES) == len(normal) + ANOMALIES


def test_anomalies_are_made_of_images_that_do_not_calibrate(tmp_path: Path) -> None:
    """Outside of its mask, each is one of the normal images that sit the exam."""
    exam = set_them(tmp_path, make_split(tmp_path, 8, "half")).synthetic
    assert exam is not None
    normal = [exam.images.read(i) for i in range(4)]
    for index in range(4, 4 + ANOMALIES):
        outside = exam.masks[index] == 0
        same = [bool((exam.images.read(index)[outside] == image[outside]).all()) for image in normal]
        assert sum(same) == 1
        assert not outside.all()


def test_both_locks_set_the_same_synthetic_exam(tmp_path: Path) -> None:
    half = make_split(tmp_path, 8, "half")
    every = replace(half, lock="all", search=(), locked=(*half.search, *half.locked))
    with_labels, without = set_them(tmp_path, half), set_them(tmp_path, every)
    assert without.labelled is None
    assert without.synthetic is not None
    assert with_labels.synthetic is not None
    assert without.deciding is without.synthetic
    assert without.synthetic.keys == with_labels.synthetic.keys
    np.testing.assert_array_equal(without.synthetic.images.pixels, with_labels.synthetic.images.pixels)


@pytest.mark.parametrize("keeps_aspect", [False, True])
def test_a_smaller_size_sits_the_exam_that_was_drawn_at_the_largest(tmp_path: Path, keeps_aspect: bool) -> None:
    """The same anomalies in the same places; the rest is the image as decoded at the smaller size."""
    split, arrays = make_split(tmp_path, 8, "half", height_px=20), ArrayStore(tmp_path / "cache")
    large, small = (Geometry.square(side, keeps_aspect) for side in (96, 48))
    drawn, exam, other = (
        set_exams(arrays, split, *rest).synthetic
        for rest in ((large, ANOMALIES, large), (small, ANOMALIES, large), (small, ANOMALIES))
    )
    assert drawn is not None
    assert exam is not None
    assert other is not None
    assert exam.keys == drawn.keys
    np.testing.assert_array_equal(exam.images.content_px, other.images.content_px)
    np.testing.assert_array_equal(exam.images.pixels[:4], other.images.pixels[:4])  # the normal ones
    blocks = drawn.masks.reshape(-1, 48, 2, 48, 2).max(axis=(2, 4))
    np.testing.assert_array_equal(exam.masks[:, :30], blocks[:, :30])
    for index in range(4, 4 + ANOMALIES):
        image, inside = exam.images.read(index).astype(int), exam.masks[index] == 1
        same = [(exam.images.read(i)[~inside] == image[~inside]).all() for i in range(4)]
        assert sum(same) == 1
        reduced = drawn.images.read(index).reshape(48, 2, 48, 2, 3).mean(axis=(1, 3))
        assert np.abs(reduced - image)[inside].mean() < 12  # box and bicubic differ a little on noise


@pytest.mark.parametrize(("held_out", "is_black"), [(3, False), (6, True)])
def test_images_that_give_no_synthetic_exam_do_not_stop_a_search_on_labelled_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, held_out: int, is_black: bool
) -> None:
    split = make_split(tmp_path, held_out, "half", is_black)
    with caplog.at_level(logging.WARNING):
        exams = set_them(tmp_path, split)
    assert exams.deciding is exams.labelled
    assert exams.synthetic is None
    assert "labelled images alone" in caplog.text
    with pytest.raises(BadDataError, match=r"no visible anomaly|at least 4"):
        set_them(tmp_path, replace(split, lock="all", search=()))
    scores = Scores({"patch_knn": np.arange(20.0)}, {})
    assert exams.list_objectives(scores, None, "best").keys() == {"objectives"}


def test_objectives_come_by_the_same_rule(tmp_path: Path) -> None:
    exams = set_them(tmp_path, make_split(tmp_path, 8, "half"))
    assert exams.labelled is not None
    assert exams.synthetic is not None
    good, bad = exams.labelled.labels * 1.0, -exams.labelled.labels * 1.0
    right = exams.synthetic.labels * 1.0
    labelled = Scores({"decoder": bad, "patch_knn": good}, {})
    synthetic = Scores({"decoder": right, "patch_knn": 0 * right}, {})
    best = exams.list_objectives(labelled, synthetic, "best")
    assert best["objectives"] == {"synthetic": 1.0, "labelled": 1.0}
    assert best["synthetic_scorer"] == "decoder"
    assert best["synthetic_auroc"] == {"decoder": 1.0, "patch_knn": 0.5}
    fixed = exams.list_objectives(labelled, synthetic, "patch_knn")
    assert fixed["objectives"] == {"synthetic": 0.5, "labelled": 1.0}
    assert fixed["synthetic_scorer"] == "patch_knn"


def test_locked_images_sit_the_exam_of_a_confirmation(tmp_path: Path) -> None:
    split = make_split(tmp_path, 8, "half")
    exam = set_locked(ArrayStore(tmp_path / "cache"), split, GEOMETRY)
    assert exam.keys == tuple(record.key for record in split.locked)
    assert len(exam.calibration) == 8
    assert exam.clusters == tuple(record.scene_id for record in split.locked)
    assert exam.labels.tolist() == [record.label == "bad" for record in split.locked]
    assert exam.is_masked.tolist() == [record.label == "good" for record in split.locked]
    searched = set_exams(ArrayStore(tmp_path / "cache"), split, GEOMETRY, ANOMALIES).deciding
    assert not set(exam.keys) & set(searched.keys)


def make_exam(height_px: int = SIDE_PX) -> Exam:
    """Eight good images in four scenes and eight bad ones; the last two, a scene of their own, have no mask."""
    pixels = np.zeros((16, SIDE_PX, SIDE_PX, 3), np.uint8)
    frames = Frames(pixels, np.tile((height_px, SIDE_PX), (16, 1)), GEOMETRY)
    masks = np.zeros(pixels.shape[:3], np.uint8)
    masks[8:14, 4:12, 6:10] = 1
    clusters = tuple(f"{'bad' if i > 7 else 'good'}/{i // 2}" for i in range(16))
    return Exam(
        keys=tuple(map(str, range(16))),
        images=frames,
        labels=np.repeat([0, 1], 8),
        masks=masks,
        is_masked=np.arange(16) < 14,
        calibration=frames,
        clusters=clusters,
    )


def make_scores(exam: Exam, seed: int, gap: float) -> Scores:
    rng = np.random.default_rng(seed)
    maps = rng.random((16, 8, 8)).astype(np.float32) + gap * exam.masks[:, 2::4, 2::4]
    return Scores({"decoder": maps.max(axis=(1, 2)), "predictor": rng.random(16)}, {"decoder": maps})


@pytest.mark.parametrize("height_px", [SIDE_PX, 20])
def test_au_pro_is_drawn_over_scenes_as_it_is_measured(height_px: int) -> None:
    exam = make_exam(height_px)
    scores = make_scores(exam, 0, 0.5)
    drawn = exam.resample_au_pro(scores, "decoder", 300)
    assert drawn is not None
    assert drawn.shape == (300,)
    measured = exam.evaluate(scores)["decoder"].au_pro_005
    assert np.nanmean(drawn) == pytest.approx(measured, abs=0.05)
    assert np.nanstd(drawn) > 0.01
    assert np.isnan(drawn).mean() < 0.02  # all bad scenes drawn are the one without a mask: 1 in 256
    np.testing.assert_array_equal(exam.resample_au_pro(scores, "decoder", 300), drawn)


def test_models_are_drawn_alike_and_images_of_unknown_regions_count_for_nothing() -> None:
    exam = make_exam()
    better, worse = (exam.resample_au_pro(make_scores(exam, 0, gap), "decoder", 200) for gap in (1.0, 0.4))
    assert better is not None
    assert worse is not None
    is_known = ~np.isnan(worse)
    np.testing.assert_array_equal(~np.isnan(better), is_known)
    assert (better > worse)[is_known].all()  # in each draw: they see the same images
    scores = make_scores(exam, 0, 0.4)
    scores.maps["decoder"][14:] += 100
    np.testing.assert_array_equal(exam.resample_au_pro(scores, "decoder", 200), worse)


def test_there_is_no_au_pro_without_maps_or_masks() -> None:
    exam = make_exam()
    assert exam.resample_au_pro(make_scores(exam, 0, 0.5), "predictor", 10) is None
    unmasked = replace(exam, is_masked=exam.labels == 0)
    assert unmasked.resample_au_pro(make_scores(exam, 0, 0.5), "decoder", 10) is None
