"""A small data folder in the MVTec AD 2 layout, of real PNG files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.data.folders import make_pixels, save_image, write_mvtec_ad2

__all__ = ["MakeCategory", "make_pixels", "save_image"]

MakeCategory = Callable[..., Path]


@pytest.fixture
def make_category(tmp_path: Path) -> MakeCategory:
    """Writes `<root>/<name>` and returns the root; every bad image has a mask with one pixel."""

    def make(name: str = "can", train: int = 4, validation: int = 2, scenes: int = 2) -> Path:
        write_mvtec_ad2(tmp_path / "data", name, train, validation, scenes)
        return tmp_path / "data"

    return make
