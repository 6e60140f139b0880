import shutil
from pathlib import Path

import pytest

from anomalyvfm_opt.data.layout import list_categories, read_category
from anomalyvfm_opt.errors import EXIT_ENVIRONMENT, BadDataError, EnvironmentMissingError, UsageError
from tests.unit.data.conftest import MakeCategory, make_pixels, save_image

_REAL = Path(__file__).parents[4] / "shared/data/real"


def test_reads_every_part_sorted_by_key(make_category: MakeCategory) -> None:
    images = read_category(make_category(train=3, validation=2, scenes=1), "can")
    assert [r.key for r in images.train] == [f"can/train/good/{i:03d}_regular.png" for i in range(3)]
    assert [r.key for r in images.validation] == [f"can/validation/good/{i:03d}_regular.png" for i in range(2)]
    assert [(r.key, r.label, r.scene, r.light) for r in images.test] == [
        ("can/test_public/bad/000_regular.png", "bad", "000", "regular"),
        ("can/test_public/bad/000_shift_1.png", "bad", "000", "shift_1"),
        ("can/test_public/good/000_regular.png", "good", "000", "regular"),
        ("can/test_public/good/000_shift_1.png", "good", "000", "shift_1"),
    ]
    assert [r.mask.name if r.mask else None for r in images.test] == [
        "000_regular_mask.png",
        "000_shift_1_mask.png",
        None,
        None,
    ]


def test_good_and_bad_with_one_number_are_two_scenes(make_category: MakeCategory) -> None:
    images = read_category(make_category(scenes=1), "can")
    assert {r.scene_id for r in images.test} == {"good/000", "bad/000"}


def test_an_image_without_a_scene_number_is_its_own_scene(make_category: MakeCategory) -> None:
    root = make_category()
    save_image(root / "can/test_public/good/img7.png", make_pixels(1))
    record = next(r for r in read_category(root, "can").test if r.path.name == "img7.png")
    assert (record.scene, record.scene_id) == (None, "can/test_public/good/img7.png")


def test_a_bad_image_without_mask_is_kept(make_category: MakeCategory) -> None:
    root = make_category(scenes=1)
    (root / "can/test_public/ground_truth/bad/000_regular_mask.png").unlink()
    first, second, *_ = read_category(root, "can").test
    assert first.mask is None
    assert second.mask is not None


def test_an_archive_unpacked_twice_deep_has_the_same_keys(make_category: MakeCategory) -> None:
    root = make_category()
    expected = [r.key for r in read_category(root, "can").test]
    shutil.move(root / "can", root / "inner")
    (root / "can").mkdir()
    shutil.move(root / "inner", root / "can/can")
    assert [r.key for r in read_category(root, "can").test] == expected


def test_other_and_hidden_files_are_no_images(make_category: MakeCategory) -> None:
    root = make_category(train=2)
    (root / "can/train/good/._000_regular.png").write_bytes(b"finder")
    (root / "can/train/good/notes.txt").write_text("x")
    (root / ".cache").mkdir()
    assert len(read_category(root, "can").train) == 2
    assert list_categories(root) == ["can"]


def test_a_missing_root_names_the_folder_and_the_layout(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissingError, match=r"nowhere.*train/good") as caught:
        list_categories(tmp_path / "nowhere")
    assert caught.value.exit_code == EXIT_ENVIRONMENT


def test_a_root_without_categories_names_the_layout(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    with pytest.raises(BadDataError, match=r"no category in .*test_public"):
        list_categories(tmp_path)


def test_a_root_that_is_a_category_is_told_from_its_parent(make_category: MakeCategory) -> None:
    root = make_category()
    with pytest.raises(UsageError, match="give its parent folder") as caught:
        list_categories(root / "can")
    assert str(root) in caught.value.hint


def test_an_unknown_category_is_answered_with_the_nearest(make_category: MakeCategory) -> None:
    make_category("fabric")
    root = make_category("can")
    with pytest.raises(UsageError, match=r"'fabrik'.*did you mean 'fabric'\? there are can, fabric"):
        read_category(root, "fabrik")


@pytest.mark.parametrize("part", ["train/good", "test_public/good", "test_public/bad"])
def test_an_incomplete_category_says_what_it_lacks(make_category: MakeCategory, part: str) -> None:
    root = make_category()
    shutil.rmtree(root / "can" / part)
    with pytest.raises(BadDataError, match=f"can has no image in {part}"):
        read_category(root, "can")


def test_validation_may_be_absent(make_category: MakeCategory) -> None:
    assert read_category(make_category(validation=0), "can").validation == ()


@pytest.mark.skipif(not _REAL.is_dir(), reason="the real images are not here")
def test_the_real_images_are_read_as_their_readme_counts_them() -> None:
    assert list_categories(_REAL) == ["deep_pcb", "magnetic_tile", "road_crack"]
    images = read_category(_REAL, "magnetic_tile")
    labels = [record.label for record in images.test]
    assert (len(images.train), len(images.validation)) == (323, 49)
    assert (labels.count("good"), labels.count("bad")) == (124, 204)
    assert all(record.mask for record in images.test if record.label == "bad")
