"""A submission is made by real detectors, whole or not at all."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.errors import BadDataError, EnvironmentMissingError, UsageError
from anomalyvfm_opt.inference.folder import read_card, write_card
from anomalyvfm_opt.inference.standalone import StandaloneDetector
from anomalyvfm_opt.inference.submission.archive import name_archive
from anomalyvfm_opt.inference.submission.images import find_private_images
from anomalyvfm_opt.inference.submission.inspection import inspect_submission
from anomalyvfm_opt.inference.submission.tiff import read_map
from tests.unit.inference.making import FEW, SIZE_PX, TOOLS, list_left, make


def test_maps_and_masks_are_those_of_the_detector(data: Path, detectors: dict[str, Path], tmp_path: Path) -> None:
    said: list[str] = []
    root = tmp_path / "out" / "mine"
    root.parent.mkdir()
    written = make(data, root, detectors, said=said)
    assert sorted(path.name for path in root.parent.iterdir()) == ["mine", "mine.tar.gz"]
    images = find_private_images(data, FEW)
    found = inspect_submission(root, {image.place: SIZE_PX for image in images})
    assert (found.faults, found.has_archive) == ((), True)
    for category, folder in detectors.items():
        one = written[category]
        own = [image for image in images if image.place.category == category]
        assert one.images == len(own) == 2 * FEW[category]
        pixel = read_card(folder).thresholds.pixel
        assert pixel is not None
        assert one.thresholds.pixel == pixel
        with StandaloneDetector(folder, device="cpu", batch=4) as detector:
            predictions = detector.predict([image.path for image in own])
        is_marked = 0
        for image, prediction in zip(own, predictions, strict=True):
            heat = prediction.map_at_image()
            half = read_map(root / image.place.map_path, SIZE_PX).astype(np.float64)
            np.testing.assert_allclose(half * one.scale.unit + one.scale.zero, heat, atol=1e-3 * np.ptp(heat))
            with Image.open(root / image.place.mask_path) as mask:
                np.testing.assert_array_equal(np.asarray(mask) == 255, heat > pixel)
            assert ((half > 0) <= (heat > pixel)).all()
            is_marked += (heat > pixel).any()
        assert one.marked == is_marked
        assert any(line.startswith(f"{category}: {len(own)} images; pixels above {pixel:.6g}") for line in said)


def test_the_same_call_gives_the_same_archive(data: Path, detectors: dict[str, Path], tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make(data, tmp_path / name / "mine", detectors)
        contents.append(name_archive(tmp_path / name / "mine").read_bytes())
    assert contents[0] == contents[1]


def test_an_empty_folder_gives_way(data: Path, detectors: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    make(data, tmp_path / "mine", detectors)
    assert (tmp_path / "mine" / "anomaly_images").is_dir()


@pytest.mark.parametrize(("asked", "share"), [(None, 0.2), (0.5, 0.5), (0.001, 1 / 7)])
def test_too_few_scenes_promise_the_least_that_they_can(
    data: Path, detectors: dict[str, Path], tmp_path: Path, asked: float | None, share: float
) -> None:
    written = make(data, tmp_path / "mine", detectors, replace(TOOLS, false_positives=asked))
    for one in written.values():
        assert one.thresholds.false_positives == pytest.approx(share)
        assert one.thresholds.scenes == 6
        assert one.thresholds.pixel is not None


def take(kind: str) -> Callable[[Path], object]:
    def spoil(root: Path) -> None:
        archive = name_archive(root)
        if kind == "full folder":
            (root / "below").mkdir(parents=True)
        elif kind == "file":
            root.touch()
        elif kind == "link to an empty folder":
            (root.parent / "elsewhere").mkdir()
            root.symlink_to(root.parent / "elsewhere")
        elif kind == "archive":
            archive.touch()
        else:
            archive.symlink_to("nowhere")

    return spoil


@pytest.mark.parametrize("kind", ["full folder", "file", "link to an empty folder", "archive", "broken link"])
def test_a_name_that_is_taken_is_refused(
    data: Path, detectors: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    take(kind)(tmp_path / "mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="is there already"):
        make(data, tmp_path / "mine", detectors)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["nowhere/mine", "data/can/train/good/000_regular.png/mine"])
def test_a_place_that_is_no_folder_is_refused(
    data: Path, detectors: dict[str, Path], tmp_path: Path, name: str
) -> None:
    with pytest.raises(EnvironmentMissingError, match="is no folder"):
        make(data, tmp_path / name, detectors)


@pytest.mark.parametrize("name", ["..", "/"])
def test_what_is_no_name_is_refused(data: Path, detectors: dict[str, Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a submission"):
        make(data, tmp_path / name, detectors)


def test_a_folder_that_may_not_be_written_to_is_refused(
    data: Path, detectors: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode & os.W_OK == 0)  # which root would be let do
    with pytest.raises(EnvironmentMissingError, match="cannot be written to"):
        make(data, tmp_path / "mine", detectors)


def spoil_pixels(image: Path) -> None:
    content = bytearray(image.read_bytes())
    content[200:260] = bytes(60)
    image.write_bytes(content)


BAD_DATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "set missing": (
        lambda data: (data / "vial/test_private").rename(data / "gone"),
        r"vial/test_private has no image, and there should be 2",
    ),
    "category missing": (lambda data: (data / "vial").rename(data.with_name("gone")), r"data/vial is missing"),
    "image missing": (
        lambda data: (data / "can/test_private_mixed/001_mixed.png").unlink(),
        r"can/test_private_mixed lacks 1 of 3 images, first 001_mixed.png",
    ),
    "image too many": (
        lambda data: (data / "can/test_private/x.png").write_bytes(b""),
        r"can/test_private/x.png is no image of this set",
    ),
    "no image": (
        lambda data: (data / "can/test_private/001_regular.png").write_text("x"),
        r"001_regular.png is not an image",
    ),
    "damaged image": (
        lambda data: spoil_pixels(data / "can/test_private/001_regular.png"),
        r"cannot read .*001_regular.png",
    ),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_named_and_leaves_nothing(
    data: Path, detectors: dict[str, Path], tmp_path: Path, name: str
) -> None:
    spoil, said = BAD_DATA[name]
    spoil(data)
    with pytest.raises(BadDataError, match=said):
        make(data, tmp_path / "mine", detectors)
    assert list_left(tmp_path) == []


def swap_image(data: Path) -> None:
    Image.new("RGB", (60, 60)).save(data / "vial/test_private_mixed/001_mixed.png")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda data: (data / "vial/test_private_mixed/001_mixed.png").unlink(),
            r"no map can be made: cannot read .*001_mixed\.png",
        ),
        (swap_image, r"001_mixed\.png was changed while the maps were made"),
    ],
)
def test_an_image_that_goes_or_changes_meanwhile_is_named(
    data: Path, detectors: dict[str, Path], tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    with pytest.raises(BadDataError, match=said):
        make(data, tmp_path / "mine", detectors, meanwhile=spoil)
    assert list_left(tmp_path) == []


def test_a_folder_without_categories_is_refused(detectors: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(BadDataError, match="no category in"):
        make(tmp_path / "data", tmp_path / "mine", detectors)


def test_a_detector_of_another_category_is_refused(data: Path, detectors: dict[str, Path], tmp_path: Path) -> None:
    card = read_card(detectors["vial"])
    write_card(detectors["vial"], card.model_copy(update={"provenance": {"category": "rice"}}))
    try:
        with pytest.raises(UsageError, match="is one of rice, and not of vial"):
            make(data, tmp_path / "mine", detectors)
    finally:
        write_card(detectors["vial"], card)
    assert list_left(tmp_path) == []


def test_a_detector_that_is_missing_is_refused(data: Path, detectors: dict[str, Path], tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(UsageError, match=r"detector.json is missing"):
        make(data, tmp_path / "mine", {**detectors, "vial": tmp_path / "nowhere"}, said=said)
    assert said == []  # before the first map
    assert list_left(tmp_path) == []
