import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyvfm_opt.data.layout import CategoryImages, ImageRecord, read_category
from anomalyvfm_opt.data.split import content_hashes, divide, mask_hashes, masks_hash, split_hash
from anomalyvfm_opt.errors import BadDataError, UsageError
from tests.unit.data.conftest import MakeCategory

_PINNED_SCENES = "000 001 002 008 010 012 014 016 018 019"
_PINNED_HASH = "93181b407975dc07afd0662b1b58418859f5cdc7e5afa25355edd05de46721d0"
_LIGHTS = ("regular", "overexposed", "shift_1")


def _record(part: str, label: str, stem: str, scene: str | None, light: str | None) -> ImageRecord:
    key = f"can/{part}/{label}/{stem}.png"
    return ImageRecord(Path("/data") / key, key, label, scene, light, None)


@st.composite
def _categories(draw: st.DrawFn, least_scenes: int = 20) -> CategoryImages:
    test = []
    for label in ("good", "bad"):
        for i in range(draw(st.integers(least_scenes, least_scenes + 8))):
            if draw(st.booleans()):
                for light in draw(st.lists(st.sampled_from(_LIGHTS), min_size=1, max_size=3, unique=True)):
                    test.append(_record("test_public", label, f"{i:03d}_{light}", f"{i:03d}", light))
            else:
                test.append(_record("test_public", label, f"img{i}", None, None))
    train = tuple(_record("train", "good", f"{i:03d}", f"{i:03d}", None) for i in range(draw(st.integers(9, 60))))
    validation = tuple(_record("validation", "good", f"{i}", f"{i}", None) for i in range(draw(st.integers(0, 3))))
    return CategoryImages("can", train, validation, tuple(draw(st.permutations(test))))


@settings(max_examples=40, deadline=None)
@given(images=_categories(), lock=st.sampled_from(["all", "half"]))
def test_every_image_has_exactly_one_role(images: CategoryImages, lock: str) -> None:
    split = divide(images, lock)
    normal = [r.key for r in (*split.fit, *split.held_out)]
    labelled = [r.key for r in (*split.search, *split.locked)]
    assert sorted(normal) == sorted(r.key for r in (*images.train, *images.validation))
    assert sorted(labelled) == sorted(r.key for r in images.test)


@settings(max_examples=40, deadline=None)
@given(images=_categories())
def test_no_scene_is_on_both_sides_and_search_has_half_of_each_label_rounded_up(images: CategoryImages) -> None:
    split = divide(images, "half")
    searched, locked = ({r.scene_id for r in part} for part in (split.search, split.locked))
    assert not searched & locked
    for label in ("good", "bad"):
        total = {r.scene_id for r in images.test if r.label == label}
        assert len(searched & total) == math.ceil(len(total) / 2)


@settings(max_examples=40, deadline=None)
@given(images=_categories(), lock=st.sampled_from(["all", "half"]), data=st.data())
def test_the_order_of_the_files_does_not_matter(images: CategoryImages, lock: str, data: st.DataObject) -> None:
    test, train = (tuple(data.draw(st.permutations(part))) for part in (images.test, images.train))
    shuffled = CategoryImages("can", train, images.validation, test)
    assert divide(shuffled, lock) == divide(images, lock)


@settings(max_examples=40, deadline=None)
@given(images=_categories())
def test_a_new_light_does_not_move_its_scene(images: CategoryImages) -> None:
    first = next((r for r in images.test if r.scene), None)
    if first is None:
        return
    extra = _record("test_public", first.label, f"{first.scene}_shift_9", first.scene, "shift_9")
    before = divide(images, "half")
    after = divide(CategoryImages("can", images.train, images.validation, (*images.test, extra)), "half")
    assert {r.scene_id for r in after.search} == {r.scene_id for r in before.search}


def test_lock_all_searches_on_no_labelled_image(make_category: MakeCategory) -> None:
    images = read_category(make_category(), "can")
    split = divide(images, "all")
    assert (split.search, split.locked) == ((), images.test)
    assert (split.fit, split.held_out) == (images.train, images.validation)


def test_half_refuses_few_scenes_with_their_counts(make_category: MakeCategory) -> None:
    images = read_category(make_category(scenes=3), "can")
    with pytest.raises(BadDataError, match=r"3 good and 3 bad scenes.*at least 20.*lock: all"):
        divide(images, "half")


def test_half_counts_scenes_and_not_images() -> None:
    test = [
        _record("test_public", label, f"{i:03d}_{light}", f"{i:03d}", light)
        for label in ("good", "bad")
        for i in range(19)
        for light in _LIGHTS
    ]
    train = (_record("train", "good", "000", "000", None),)
    with pytest.raises(BadDataError, match="19 good and 19 bad scenes"):
        divide(CategoryImages("can", train, train, tuple(test)), "half")


def test_an_unknown_lock_is_refused(make_category: MakeCategory) -> None:
    with pytest.raises(UsageError, match="'none'"):
        divide(read_category(make_category(), "can"), "none")


@pytest.mark.parametrize(("train", "expected"), [(9, 8), (40, 8), (41, 9), (100, 20)])
def test_without_validation_a_fifth_but_at_least_8_training_images_are_held_out(train: int, expected: int) -> None:
    records = tuple(_record("train", "good", f"img{i}", None, None) for i in range(train))
    split = divide(CategoryImages("can", records, (), ()), "all")
    assert (len(split.held_out), len(split.fit)) == (expected, train - expected)


def test_too_few_training_images_to_hold_any_out() -> None:
    records = tuple(_record("train", "good", f"img{i}", None, None) for i in range(8))
    with pytest.raises(BadDataError, match="8 training images and none for validation"):
        divide(CategoryImages("can", records, (), ()), "all")


def test_the_division_of_a_known_category_never_changes() -> None:
    """Studies store their division: another hash or another order would orphan them."""
    test = tuple(
        _record("test_public", label, f"{i:03d}", f"{i:03d}", None) for label in ("good", "bad") for i in range(20)
    )
    train = (_record("train", "good", "000", "000", None),)
    validation = (_record("validation", "good", "000", "000", None),)
    split = divide(CategoryImages("can", train, validation, test), "half")
    hashes = dict.fromkeys((r.key for r in (*train, *validation, *test)), "0")
    assert " ".join(r.scene or "" for r in split.search if r.label == "good") == _PINNED_SCENES
    assert split_hash(split, hashes) == _PINNED_HASH


def test_split_hash_follows_content_and_roles_but_not_where_files_lie(
    make_category: MakeCategory, tmp_path: Path
) -> None:
    root = make_category()
    images = read_category(root, "can")
    split = divide(images, "all")
    hashes = content_hashes((*images.train, *images.validation, *images.test))
    original = split_hash(split, hashes)
    moved = root.rename(tmp_path / "elsewhere")
    again = read_category(moved, "can")
    moved_hashes = content_hashes((*again.train, *again.validation, *again.test))
    assert split_hash(divide(again, "all"), moved_hashes) == original
    first = again.train[0].path
    first.write_bytes(first.read_bytes() + b"\0")
    changed = content_hashes((*again.train, *again.validation, *again.test))
    assert split_hash(divide(again, "all"), changed) != original


def test_a_file_that_has_gone_is_named(make_category: MakeCategory) -> None:
    records = read_category(make_category(), "can").train
    records[1].path.unlink()
    with pytest.raises(BadDataError, match=r"001_regular\.png"):
        content_hashes(records)


def test_masks_have_a_hash_of_their_own(make_category: MakeCategory) -> None:
    test = read_category(make_category(), "can").test
    masked = [record for record in test if record.mask is not None]
    hashes = mask_hashes(test)
    assert masked
    assert sorted(hashes) == sorted(record.key for record in masked)
    original = masks_hash(hashes)
    assert masks_hash(mask_hashes(reversed(test))) == original
    mask = masked[0].mask
    assert mask is not None
    mask.write_bytes(mask.read_bytes() + b"\0")
    assert masks_hash(mask_hashes(test)) != original
    mask.unlink()
    with pytest.raises(BadDataError, match=mask.name):
        mask_hashes(test)
