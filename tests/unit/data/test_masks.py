import unicodedata
from pathlib import Path

import pytest

from anomalyvfm_opt.data.masks import find_namesakes, find_shared, find_spare, pair
from anomalyvfm_opt.data.records import ImageRecord


def _paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


def _bad(path: str, mask: str | None) -> ImageRecord:
    return ImageRecord(Path(path), path, "bad", None, None, None if mask is None else Path(mask))


@pytest.mark.parametrize(
    ("images", "masks", "expected"),
    [
        (["a.png"], ["a_mask.png"], {"a.png": "a_mask.png"}),
        (["a.JPG"], ["a_mask.tif"], {"a.JPG": "a_mask.tif"}),
        (["a.png"], ["a.png"], {"a.png": "a.png"}),
        (["a.png"], ["a.png", "a_mask.png"], {"a.png": "a_mask.png"}),
        (["a.png"], ["a_mask.png", "a_mask.bmp"], {"a.png": "a_mask.bmp"}),
        (["a.png"], ["b_mask.png", "A_mask.png"], {}),
        (["a.png", "a_mask.png"], ["a_mask.png"], {"a.png": "a_mask.png"}),
        (["a_mask.png"], ["a_mask.png"], {"a_mask.png": "a_mask.png"}),
        (["a.png", "a.jpg"], ["a_mask.png"], {"a.png": "a_mask.png", "a.jpg": "a_mask.png"}),
        (["a.b.png"], ["a_mask.png", "a.b_mask.png"], {"a.b.png": "a.b_mask.png"}),
    ],
)
def test_pair(images: list[str], masks: list[str], expected: dict[str, str]) -> None:
    assert {i.name: m.name for i, m in pair(_paths(*images), _paths(*masks)).items()} == expected


def test_a_name_that_another_system_spelt_differently_is_the_same_name() -> None:
    name = "Gehäuse"
    image, mask = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert image != mask
    assert pair(_paths(f"{image}.png"), _paths(f"{mask}_mask.png")) == {
        Path(f"{image}.png"): Path(f"{mask}_mask.png")
    }


def test_spare_masks_are_explained() -> None:
    images, masks = _paths("a.png"), _paths("a_mask.png", "a_mask.tif", "a.png", "b_mask.png", "b.png")
    assert find_spare(images, masks) == [
        "a_mask.tif is not read: a_mask.png is the mask of a.png",
        "a.png is not read: a_mask.png is the mask of a.png",
        "b_mask.png is the mask of no image",
        "b.png is the mask of no image",
    ]


def test_images_of_one_name_are_told() -> None:
    with_mask = [_bad("a.png", "a_mask.png"), _bad("a.jpg", "a_mask.png"), _bad("b.png", "b_mask.png")]
    without = [_bad("x/a.png", None), _bad("x/a.jpg", None), _bad("y/a.png", None)]
    assert find_shared([*with_mask, *without]) == [
        "a_mask.png could be the mask of a.png and a.jpg: give them different names"
    ]
    assert find_namesakes([*with_mask, *without]) == [
        "x/a.png and x/a.jpg differ in their suffix alone: give them different names"
    ]
