from pathlib import Path

import numpy as np
import pytest

from anomalyvfm_opt.data.check import check_folder
from anomalyvfm_opt.errors import EnvironmentMissingError
from tests.unit.data.conftest import MakeCategory, make_pixels, save_image


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
    (base / "validation/good/photo.jpg").write_bytes(b"x")
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
        "photo.jpg is not read",
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
    assert report.problems == ["fabric has no PNG in train/good"]


def test_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissingError, match="no category in"):
        check_folder(tmp_path)
