"""Images that show nothing, and images that are there twice: `data check` names them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.data.check import check_folder
from tests.unit.data.conftest import MakeCategory, make_pixels


def _transparent() -> Image.Image:
    return Image.fromarray(np.dstack([make_pixels(7), np.zeros((8, 10), np.uint8)]))


CONSTANT = {
    "transparent everywhere": (_transparent(), "(0, 0, 0) (red, green, blue) everywhere, which is how what is"),
    "grey and transparent": (_transparent().convert("LA"), "(0, 0, 0) (red, green, blue) everywhere, which"),
    "one colour": (Image.new("RGB", (10, 8), (9, 8, 7)), "(9, 8, 7) (red, green, blue) everywhere: there is"),
    "16 bits that are dark": (Image.fromarray(np.arange(80, dtype=np.uint16).reshape(8, 10)), "(0, 0, 0)"),
    "white of one bit": (Image.new("1", (10, 8), 1), "(255, 255, 255)"),
    "a palette of one colour": (Image.new("P", (10, 8), 3), "everywhere: there is nothing to see in it"),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_an_image_of_one_colour_is_named(make_category: MakeCategory, name: str) -> None:
    root = make_category()
    image, words = CONSTANT[name]
    image.save(root / "can/train/good/900_regular.png")
    (can,) = check_folder(root).categories
    (warning,) = [line for line in can.warnings if "900_regular.png is (" in line]
    assert words in warning
    assert can.is_usable


def test_a_bmp_file_of_32_bits_whose_alpha_nobody_set_is_named(make_category: MakeCategory) -> None:
    root = make_category()
    Image.fromarray(np.dstack([make_pixels(7), np.zeros((8, 10), np.uint8)])).save(root / "can/train/good/900.bmp")
    (can,) = check_folder(root).categories
    named = [line for line in can.warnings if "900.bmp" in line]
    with Image.open(root / "can/train/good/900.bmp") as image:
        assert bool(named) == (image.mode == "RGBA")


def _copy(root: Path, source: str, target: str) -> tuple[Path, Path]:
    (root / target).parent.mkdir(exist_ok=True)
    return root / source, Path(shutil.copy(root / source, root / target))


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (
            "can/train/good/000_regular.png",
            "can/train/good/900.png",
            "are the same image: it counts more than once",
        ),
        ("can/train/good/000_regular.png", "can/test_public/good/900.png", "the same image, in train and test"),
        ("can/train/good/000_regular.png", "can/validation/good/900.png", "same image, in train and validation"),
        ("can/test_public/good/000_regular.png", "can/test_public/bad/900.png", "called good and bad"),
    ],
)
def test_the_same_image_twice_is_named(make_category: MakeCategory, source: str, target: str, words: str) -> None:
    root = make_category()
    assert check_folder(root).problems == []
    paths = _copy(root, source, target)
    (can,) = check_folder(root).categories
    (warning,) = [line for line in can.warnings if "the same image" in line]
    assert words in warning
    assert all(str(path) in warning for path in paths)


def test_a_copy_in_another_format_is_found(make_category: MakeCategory) -> None:
    root = make_category()
    with Image.open(root / "can/train/good/001_regular.png") as image:
        image.save(root / "can/test_public/good/900.bmp")
    (can,) = check_folder(root).categories
    assert any("001_regular.png" in line and "900.bmp" in line for line in can.warnings)


def test_many_copies_are_one_line(make_category: MakeCategory) -> None:
    root = make_category()
    for i in range(20):
        _copy(root, "can/train/good/000_regular.png", f"can/train/good/9{i:02d}.png")
    (can,) = check_folder(root).categories
    (warning,) = [line for line in can.warnings if "the same image" in line]
    assert "and 17 more are the same image" in warning
