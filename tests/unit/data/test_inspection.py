"""What is wrong or odd with one image and its mask."""

from pathlib import Path

import numpy as np
import pytest

from anomalyvfm_opt.data.inspection import inspect
from anomalyvfm_opt.data.records import ImageRecord
from tests.unit.data.folders import make_pixels, save_image


@pytest.fixture
def record(tmp_path: Path) -> ImageRecord:
    mask = make_pixels(0) * 0
    mask[2:4, 2:4] = 255
    image = save_image(tmp_path / "image.png", make_pixels(1))
    return ImageRecord(image, "can/test/bad/000", "bad", "000", "regular", save_image(tmp_path / "mask.png", mask))


def test_a_sound_pair_is_sound(record: ImageRecord) -> None:
    found = inspect(record)
    assert found.form is not None
    assert (found.errors, found.warnings) == ((), ())


def test_an_image_that_cannot_be_read_has_no_form(record: ImageRecord) -> None:
    record.path.write_bytes(b"no image")
    found = inspect(record)
    assert found.form is None
    assert str(record.path) in found.errors[0]


@pytest.mark.parametrize(
    ("mask", "errors", "warnings"),
    [
        (np.zeros((3, 4, 3), np.uint8), "is 4x3 px, its image", ""),
        (0 * make_pixels(0), "", "marks no pixel"),
        (0 * make_pixels(0) + 255, "", "marks every pixel: is it inverted?"),
    ],
    ids=["another size", "empty", "full"],
)
def test_a_mask_that_cannot_be_right_is_told(
    record: ImageRecord, mask: np.ndarray, errors: str, warnings: str
) -> None:
    assert record.mask is not None
    save_image(record.mask, mask)
    found = inspect(record)
    assert [errors in "".join(found.errors), warnings in "".join(found.warnings)] == [True, True]
    assert (bool(found.errors), bool(found.warnings)) == (bool(errors), bool(warnings))
