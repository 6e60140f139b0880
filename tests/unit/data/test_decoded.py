import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import PADDING, has_mask, load_images, load_masks
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.data.layout import ImageRecord, read_category
from anomalyvfm_opt.errors import BadDataError
from tests.unit.data.conftest import MakeCategory, make_pixels, save_image


@pytest.fixture
def store(tmp_path: Path) -> ArrayStore:
    return ArrayStore(tmp_path / "cache")


def _bad(path: Path, mask: Path | None) -> ImageRecord:
    return ImageRecord(path, f"can/test_public/bad/{path.name}", "bad", None, None, mask)


def test_images_are_resized_in_the_order_of_the_records(make_category: MakeCategory, store: ArrayStore) -> None:
    records = read_category(make_category(), "can").test[::-1]
    images = load_images(store, records, Geometry.square(6)).pixels
    assert (images.shape, images.dtype) == ((len(records), 6, 6, 3), np.uint8)
    for image, record in zip(images, records, strict=True):
        with Image.open(record.path) as original:
            assert (image == np.asarray(original.resize((6, 6), Image.Resampling.BICUBIC))).all()


def test_a_size_of_its_own_is_kept_exactly(tmp_path: Path, store: ArrayStore) -> None:
    pixels = make_pixels(0, 8, 8)
    record = _bad(save_image(tmp_path / "a.png", pixels), None)
    assert (load_images(store, [record], Geometry.square(8)).pixels[0] == pixels).all()


def test_images_are_decoded_once_and_anew_when_a_file_changes(
    make_category: MakeCategory, store: ArrayStore
) -> None:
    records = read_category(make_category(), "can").train
    before = load_images(store, records, Geometry.square(4)).pixels.copy()
    load_images(store, records, Geometry.square(4))
    assert len(list(store.folder.glob("*.npy"))) == 1
    save_image(records[0].path, make_pixels(99))
    os.utime(records[0].path, ns=(1, 1))
    after = load_images(store, records, Geometry.square(4)).pixels
    assert (after[0] != before[0]).any()
    assert (after[1:] == before[1:]).all()


def test_no_records_give_an_empty_array(store: ArrayStore) -> None:
    assert load_images(store, [], Geometry.square(4)).pixels.shape == (0, 4, 4, 3)
    assert load_masks(store, [], Geometry.square(4)).shape == (0, 4, 4)


def test_a_truncated_image_is_named_and_nothing_is_kept(make_category: MakeCategory, store: ArrayStore) -> None:
    records = read_category(make_category(), "can").train
    records[2].path.write_bytes(records[2].path.read_bytes()[:150])
    with pytest.raises(BadDataError, match=r"002_regular\.png.*truncated"):
        load_images(store, records, Geometry.square(4))
    assert not list(store.folder.glob("*.npy"))


def test_an_image_that_has_gone_is_named(make_category: MakeCategory, store: ArrayStore) -> None:
    records = read_category(make_category(), "can").train
    records[1].path.unlink()
    with pytest.raises(BadDataError, match=r"001_regular\.png"):
        load_images(store, records, Geometry.square(4))


def test_the_smallest_defect_of_a_large_image_does_not_vanish(tmp_path: Path, store: ArrayStore) -> None:
    mask = np.zeros((1056, 4224), np.uint8)
    mask[500, 4000] = 255
    record = _bad(save_image(tmp_path / "a.png", mask), save_image(tmp_path / "a_mask.png", mask))
    loaded = load_masks(store, [record], Geometry.square(16))
    assert np.argwhere(loaded[0]).tolist() == [[500 * 16 // 1056, 4000 * 16 // 4224]]


def test_masks_of_good_images_and_missing_masks_are_zeros(make_category: MakeCategory, store: ArrayStore) -> None:
    root = make_category(scenes=1)
    (root / "can/test_public/ground_truth/bad/000_regular_mask.png").unlink()
    records = read_category(root, "can").test
    masks = load_masks(store, records, Geometry.square(10))
    assert [bool(mask.any()) for mask in masks] == [False, True, False, False]
    assert [has_mask(record) for record in records] == [False, True, True, True]
    assert set(np.unique(masks)) == {0, 1}


def test_a_broken_mask_is_named(make_category: MakeCategory, store: ArrayStore) -> None:
    records = read_category(make_category(), "can").test
    assert records[0].mask is not None
    records[0].mask.write_bytes(b"")
    with pytest.raises(BadDataError, match=r"000_regular_mask\.png is an empty file"):
        load_masks(store, records, Geometry.square(4))


def test_a_mask_of_another_size_is_refused(tmp_path: Path, store: ArrayStore) -> None:
    image = save_image(tmp_path / "a.png", make_pixels(0, 20, 30))
    mask = save_image(tmp_path / "a_mask.png", np.ones((30, 20), np.uint8))
    with pytest.raises(BadDataError, match=r"a_mask\.png is 20x30 px, its image 30x20 px"):
        load_masks(store, [_bad(image, mask)], Geometry.square(8))


def test_kept_aspect_leaves_padding_right_and_below(tmp_path: Path, store: ArrayStore) -> None:
    """Images and masks are put at the same place, and the padding is of one colour."""
    wide, high = make_pixels(0, 20, 40), make_pixels(1, 40, 20)
    marked = np.full((20, 40), 255, np.uint8)
    records = [
        _bad(save_image(tmp_path / "wide.png", wide), save_image(tmp_path / "wide_mask.png", marked)),
        _bad(save_image(tmp_path / "high.png", high), None),
    ]
    geometry = Geometry.square(40, keeps_aspect=True)
    frames = load_images(store, records, geometry)
    assert frames.content_px.tolist() == [[20, 40], [40, 20]]
    assert (frames.pixels[0, :20] == wide).all()
    assert (frames.pixels[1, :, :20] == high).all()
    for padding in (frames.pixels[0, 20:], frames.pixels[1, :, 20:]):
        assert (padding == PADDING).all()
    masks = load_masks(store, records, geometry)
    assert masks[0, :20].all()
    assert not masks[0, 20:].any()


def test_an_image_turned_by_exif_keeps_its_turned_aspect(tmp_path: Path, store: ArrayStore) -> None:
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(make_pixels(0, 20, 40)).save(path, exif=exif)
    frames = load_images(store, [_bad(path, None)], Geometry.square(40, keeps_aspect=True))
    assert frames.content_px.tolist() == [[40, 20]]
    assert (frames.pixels[0, :, 20:] == PADDING).all()
    assert (frames.pixels[0, :, :20] != PADDING).any(axis=-1).mean() > 0.9


def test_an_image_too_thin_to_see_a_defect_in_is_refused(tmp_path: Path, store: ArrayStore) -> None:
    record = _bad(save_image(tmp_path / "thin.png", make_pixels(0, 10, 100)), None)
    with pytest.raises(BadDataError, match=r"thin\.png would be 64x6 px.*aspect: stretch"):
        load_images(store, [record], Geometry.square(64, keeps_aspect=True))
