"""Every layout, whole and in pieces; what all have in common is tested with MVTec AD 2 in test_layout."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from anomalyvfm_opt.data.layout import find_layout, list_categories, read_category
from anomalyvfm_opt.errors import BadDataError, UsageError
from tests.unit.data.folders import (
    make_pixels,
    save_image,
    save_mask,
    write_images,
    write_mvtec_ad,
    write_mvtec_ad2,
    write_plain,
)

Write = Callable[..., Path]


def _count(root: Path, category: str) -> tuple[int, int, int, int, int]:
    """Train, validation, good and bad test images, masks."""
    images = read_category(root, category)
    labels = Counter(record.label for record in images.test)
    masks = sum(record.mask is not None for record in images.test)
    return len(images.train), len(images.validation), labels["good"], labels["bad"], masks


def _name_layout(folder: Path) -> str | None:
    layout = find_layout(folder)
    return layout.name if layout else None


@pytest.mark.parametrize("is_doubled", [False, True], ids=["flat", "doubled"])
@pytest.mark.parametrize(
    ("write", "more", "name", "expected"),
    [
        (write_mvtec_ad2, {}, "MVTec AD 2", (4, 2, 4, 4, 4)),
        (write_mvtec_ad, {}, "MVTec AD", (10, 0, 3, 5, 5)),
        (write_mvtec_ad, {"validation": 2, "mask_end": ".png"}, "MVTec AD", (10, 2, 3, 5, 5)),
        (write_mvtec_ad, {"suffix": ".JPG", "mask_end": "_mask.TIF"}, "MVTec AD", (10, 0, 3, 5, 5)),
        (write_mvtec_ad, {"mask_end": None, "defects": {"bad": 2, "worse": 1}}, "MVTec AD", (10, 0, 3, 3, 0)),
        (write_plain, {}, "plain folders", (10, 0, 3, 4, 0)),
        (write_plain, {"validation": 3, "mask_end": "_mask.bmp"}, "plain folders", (10, 3, 3, 4, 4)),
        (write_plain, {"suffix": ".tiff", "mask_end": ".png"}, "plain folders", (10, 0, 3, 4, 4)),
    ],
)
def test_a_layout_is_known_and_read_whole(
    tmp_path: Path, write: Write, more: dict[str, object], name: str, expected: tuple[int, ...], is_doubled: bool
) -> None:
    write(tmp_path, "item", is_doubled=is_doubled, **more)
    assert list_categories(tmp_path) == ["item"]
    assert _name_layout(tmp_path / "item") == name
    assert _count(tmp_path, "item") == expected
    layout = find_layout(tmp_path / "item")
    assert layout is not None
    assert layout.find_warnings(tmp_path / "item", layout.read(tmp_path / "item")) == []


def test_layouts_may_stand_side_by_side(tmp_path: Path) -> None:
    for write in (write_mvtec_ad2, write_mvtec_ad, write_plain):
        write(tmp_path)
    names = {name: _name_layout(tmp_path / name) for name in list_categories(tmp_path)}
    assert names == {"bottle": "MVTec AD", "can": "MVTec AD 2", "tile": "plain folders"}


def test_one_number_in_two_kinds_of_defect_is_two_scenes(tmp_path: Path) -> None:
    write_mvtec_ad(tmp_path, defects={"crack": 1, "dent": 1, "bad": 1}, good=1)
    test = read_category(tmp_path, "bottle").test
    assert [(r.key, r.label, r.scene, r.scene_id) for r in test] == [
        ("bottle/test/bad/000.png", "bad", "000", "bad/000"),
        ("bottle/test/crack/000.png", "bad", "crack/000", "bad/crack/000"),
        ("bottle/test/dent/000.png", "bad", "dent/000", "bad/dent/000"),
        ("bottle/test/good/000.png", "good", "000", "good/000"),
    ]
    assert [r.mask and r.mask.parent.name for r in test] == ["bad", "crack", "dent", None]


def test_lights_are_read_in_every_layout(tmp_path: Path) -> None:
    base = write_mvtec_ad(tmp_path, defects={})
    write_images(base / "test/crack", ["003_regular", "003_shift_1", "20260131_142501"])
    bad = [r for r in read_category(tmp_path, "bottle").test if r.label == "bad"]
    assert [(r.scene, r.light) for r in bad] == [("crack/003", "regular"), ("crack/003", "shift_1"), (None, None)]
    assert len({r.scene_id for r in bad}) == 2


@pytest.mark.parametrize(
    ("places", "name", "lacks"),
    [
        (("train/good",), "plain folders", ["test/good", "test/bad"]),
        (("train/good", "validation/good"), "plain folders", ["test/good", "test/bad"]),
        (("train/good", "test/good"), "plain folders", ["test/bad"]),
        (("test/good", "test/bad"), "plain folders", ["train/good"]),
        (("train/good", "test/crack"), "MVTec AD", ["test/good"]),
        (("train/good", "test/good", "ground_truth/crack"), "MVTec AD", ["test/<defect>"]),
        (("train/good", "test_public/good"), "MVTec AD 2", ["test_public/bad"]),
        (("test_public/bad", "test/good", "test/crack"), "MVTec AD 2", ["train/good", "test_public/good"]),
    ],
)
def test_a_category_in_pieces_says_what_the_nearest_layout_lacks(
    tmp_path: Path, places: tuple[str, ...], name: str, lacks: list[str]
) -> None:
    for place in places:
        write_images(tmp_path / "item" / place, ["000"])
    assert _name_layout(tmp_path / "item") == name
    with pytest.raises(BadDataError, match=name) as caught:
        read_category(tmp_path, "item")
    assert caught.value.message == "; ".join(f"item has no image in {place}" for place in lacks)


def test_an_empty_folder_beside_bad_is_no_kind_of_defect(tmp_path: Path) -> None:
    base = write_plain(tmp_path)
    (base / "test/later").mkdir()
    assert _name_layout(base) == "plain folders"


def test_images_that_nobody_reads_are_named_with_their_place(tmp_path: Path) -> None:
    base = write_mvtec_ad(tmp_path, is_doubled=True)
    lost = [
        save_image(base.parent / "outside.png", make_pixels(0)),
        save_image(base / "top.jpg", make_pixels(0)),
        save_image(base / "train/loose.png", make_pixels(0)),
        save_image(base / "test/loose.bmp", make_pixels(0)),
        save_image(base / "test/good/.hidden.png", make_pixels(0)),
        save_mask(base / "ground_truth/loose_mask.png"),
        save_mask(base / "ground_truth/crack/999_mask.png"),
        save_mask(base / "ground_truth/crack/001.png"),
    ]
    folders = [base / "valid", base / "train/bad", base / "ground_truth/good", base / "test/crack/more"]
    for folder in folders:
        write_images(folder, ["000"])
    (base / "readme.txt").write_text("x")
    (base / "test/good/._000.png").write_bytes(b"a Mac's")
    layout = find_layout(tmp_path / "bottle")
    assert layout is not None
    warnings = layout.find_warnings(tmp_path / "bottle", layout.read(tmp_path / "bottle"))
    assert len(warnings) == len(lost) + len(folders)
    for path in (*lost, *folders):
        assert sum(line.startswith(f"{path} is ") for line in warnings) == 1, path
    assert any("images lie in train/good" in line and "ground_truth/<defect>" in line for line in warnings)


def test_a_missing_mask_is_named_where_there_are_others(tmp_path: Path) -> None:
    base = write_plain(tmp_path, mask_end="_mask.png")
    (base / "ground_truth/bad/002_mask.png").unlink()
    layout = find_layout(base)
    assert layout is not None
    assert layout.find_warnings(base, layout.read(base)) == [f"{base / 'test/bad/002.png'} is bad and has no mask"]
    shutil.rmtree(base / "ground_truth")
    assert layout.find_warnings(base, layout.read(base)) == []


def test_two_images_that_share_a_mask_are_refused(tmp_path: Path) -> None:
    base = write_plain(tmp_path, mask_end="_mask.png")
    save_image(base / "test/bad/001.JPG", make_pixels(1))
    with pytest.raises(BadDataError, match=r"001_mask\.png could be the mask of .*001\.JPG and .*001\.png"):
        read_category(tmp_path, "tile")


def test_a_folder_of_folders_of_categories_is_told_from_them(tmp_path: Path) -> None:
    write_plain(tmp_path / "download/set")
    with pytest.raises(UsageError, match=r"no category in .*but in .*set") as caught:
        list_categories(tmp_path / "download")
    assert str(tmp_path / "download/set") in caught.value.hint


def test_a_link_that_leads_in_a_circle_is_followed_once(tmp_path: Path) -> None:
    base = write_plain(tmp_path)
    (base / "tile").symlink_to(base)
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    (tmp_path / "up").symlink_to(tmp_path)
    assert list_categories(tmp_path) == ["tile"]
    assert _count(tmp_path, "tile") == (10, 0, 3, 4, 0)


def test_linked_files_and_folders_are_read(tmp_path: Path) -> None:
    base = write_plain(tmp_path / "store")
    (tmp_path / "data/tile").mkdir(parents=True)
    for part in ("train", "test"):
        (tmp_path / "data/tile" / part).symlink_to(base / part)
    (base / "train/good/100.png").symlink_to(base / "train/good/000.png")
    assert _count(tmp_path / "data", "tile") == (11, 0, 3, 4, 0)
