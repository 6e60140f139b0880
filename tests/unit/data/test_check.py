from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.data.check import check_folder
from anomalyvfm_opt.errors import BadDataError
from tests.unit.data.conftest import MakeCategory, make_pixels, save_image
from tests.unit.data.folders import write_mvtec_ad, write_plain


def test_a_sound_category_is_described(make_category: MakeCategory) -> None:
    root = make_category(train=4, validation=2, scenes=3)
    save_image(root / "can/train/good/900_regular.png", make_pixels(1, 20, 6)[..., 0])
    (root / "docs").mkdir()
    report = check_folder(root)
    (can,) = report.categories
    assert report.ignored == ("docs",)
    assert (can.name, can.is_usable, can.problems, report.problems) == ("can", True, [], [])
    assert [(p.part, p.label, p.images, p.scenes) for p in can.parts] == [
        ("train", "good", 5, 5),
        ("validation", "good", 2, 2),
        ("test", "good", 6, 3),
        ("test", "bad", 6, 3),
    ]
    assert can.parts[2].lights == {"regular": 3, "shift_1": 3}
    assert (can.smallest_px, can.largest_px) == ((6, 8), (10, 20))
    assert can.modes == {"L": 1, "RGB": 18}
    assert can.masks == 6


def test_every_problem_is_listed_with_its_file(make_category: MakeCategory) -> None:
    root = make_category(scenes=3)
    base = root / "can"
    masks = base / "test_public/ground_truth/bad"
    truncated = base / "train/good/001_regular.png"
    truncated.write_bytes(truncated.read_bytes()[:150])
    (base / "test_public/good/000_regular.png").write_bytes(b"")
    (base / "validation/good/photo.webp").write_bytes(b"x")
    (masks / "000_regular_mask.png").unlink()
    save_image(masks / "001_regular_mask.png", np.full((3, 4), 255, np.uint8))
    save_image(masks / "002_regular_mask.png", np.zeros((8, 10), np.uint8))
    (masks / "002_shift_1_mask.png").write_bytes(b"no")
    save_image(masks / "777_regular_mask.png", np.full((8, 10), 255, np.uint8))
    (can,) = check_folder(root).categories
    expected = [
        "train/good/001_regular.png",
        "test_public/good/000_regular.png is an empty file",
        "002_shift_1_mask.png is not an image",
        "bad/000_regular.png is bad and has no mask",
        "001_regular_mask.png is 4x3 px, its image 10x8 px",
        "002_regular_mask.png marks no pixel",
        "photo.webp is not read",
        "777_regular_mask.png is the mask of no image",
    ]
    assert not can.is_usable
    assert len(can.problems) == len(expected)
    for part in expected:
        assert sum(part in problem for problem in can.problems) == 1, part


def test_a_missing_mask_leaves_a_category_usable(make_category: MakeCategory) -> None:
    root = make_category()
    (root / "can/test_public/ground_truth/bad/000_regular_mask.png").unlink()
    (can,) = check_folder(root).categories
    assert can.is_usable
    assert len(can.problems) == 1


def test_a_category_that_cannot_be_used_says_why_beside_those_that_can(make_category: MakeCategory) -> None:
    make_category("can")
    root = make_category("fabric", train=0)
    report = check_folder(root)
    assert [(c.name, c.is_usable) for c in report.categories] == [("can", True), ("fabric", False)]
    assert report.problems == ["fabric has no image in train/good"]


def test_a_mask_of_another_size_makes_a_category_unusable(make_category: MakeCategory) -> None:
    root = make_category(train=10)
    path = root / "can/test_public/ground_truth/bad/000_regular_mask.png"
    save_image(path, np.full((10, 8), 255, np.uint8))
    (can,) = check_folder(root).categories
    assert can.errors == (f"{path} is 8x10 px, its image 10x8 px: is it the mask of another image?",)
    assert not can.is_usable


def test_plain_folders_without_masks_are_fine(tmp_path: Path) -> None:
    write_plain(tmp_path)
    (tile,) = check_folder(tmp_path).categories
    assert (tile.layout, tile.problems, tile.masks) == ("plain folders", [], 0)
    assert [part.images for part in tile.parts] == [10, 0, 3, 4]


def test_kinds_of_defect_are_counted_together_and_their_scenes_apart(tmp_path: Path) -> None:
    write_mvtec_ad(tmp_path, defects={"crack": 2, "dent": 3})
    (bottle,) = check_folder(tmp_path).categories
    bad = bottle.parts[-1]
    assert (bottle.layout, bad.images, bad.scenes, bottle.masks) == ("MVTec AD", 5, 5, 5)


@pytest.mark.parametrize(
    ("scenes", "expected"),
    [
        (20, "tile has 20 good and 20 bad scenes: lock: half is possible"),
        (19, "tile has 19 good and 20 bad scenes; lock: half needs at least 20 of each"),
    ],
)
def test_it_says_whether_half_can_be_locked(tmp_path: Path, scenes: int, expected: str) -> None:
    write_plain(tmp_path, good=scenes, bad=20)
    (tile,) = check_folder(tmp_path).categories
    assert [line.split(" (")[0] for line in tile.information] == [expected]
    assert tile.is_usable


def test_too_few_images_to_divide_make_a_category_unusable(tmp_path: Path) -> None:
    write_plain(tmp_path, train=8)
    (tile,) = check_folder(tmp_path).categories
    assert len(tile.errors) == 1
    assert "8 training images and none for validation" in tile.errors[0]
    assert tile.information == ()


def test_what_is_odd_is_told_and_leaves_a_category_usable(tmp_path: Path) -> None:
    base = write_plain(tmp_path, mask_end="_mask.png")
    pages = [Image.fromarray(make_pixels(seed)) for seed in range(2)]
    pages[0].save(base / "train/good/100.tif", save_all=True, append_images=pages[1:])
    save_image(base / "train/good/101.png", np.full((8, 10), 4095, np.uint16))
    save_image(base / "train/good/000.bmp", make_pixels(0))
    save_image(base / "ground_truth/bad/000_mask.png", np.full((8, 10), 255, np.uint8))
    (tile,) = check_folder(tmp_path).categories
    assert tile.is_usable
    expected = [
        "100.tif has 2 pages, of which the first is read",
        "101.png is (16, 16, 16) (red, green, blue) everywhere",
        "000_mask.png marks every pixel",
        "tile: 16-bit images reach 4095 of 65535",
        "are the same image: it counts more than once",
        "000.png differ in their suffix alone",
    ]
    assert len(tile.warnings) == len(expected)
    assert all(part in warning for part, warning in zip(expected, tile.warnings, strict=True))
    assert tile.modes == {"I;16": 1, "RGB": 19}


def test_what_lies_beside_the_categories_is_named(tmp_path: Path) -> None:
    write_plain(tmp_path)
    image = save_image(tmp_path / "loose.png", make_pixels(0))
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "notes").mkdir()
    report = check_folder(tmp_path)
    assert report.ignored == ("notes",)
    assert report.warnings == (
        f"{tmp_path / 'gone'} is not read: it lies in no category",
        f"{image} is not read: it lies in no category",
    )
    assert report.problems == list(report.warnings)


def test_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="no category in"):
        check_folder(tmp_path)
