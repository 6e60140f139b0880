"""A small data folder in the MVTec AD 2 layout, of real PNG files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeCategory = Callable[..., Path]


def save_image(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def make_pixels(seed: int, height: int = 8, width: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _write(folder: Path, names: list[str], first_seed: int) -> None:
    for i, name in enumerate(names):
        save_image(folder / f"{name}.png", make_pixels(first_seed + i))


@pytest.fixture
def make_category(tmp_path: Path) -> MakeCategory:
    """Writes `<root>/<name>` and returns the root; every bad image has a mask with one pixel."""

    def make(name: str = "can", train: int = 4, validation: int = 2, scenes: int = 2) -> Path:
        root = tmp_path / "data"
        base = root / name
        _write(base / "train/good", [f"{i:03d}_regular" for i in range(train)], 0)
        _write(base / "validation/good", [f"{i:03d}_regular" for i in range(validation)], 100)
        names = [f"{i:03d}_{light}" for i in range(scenes) for light in ("regular", "shift_1")]
        for label, seed in (("good", 200), ("bad", 300)):
            _write(base / "test_public" / label, names, seed)
        mask = np.zeros((8, 10), np.uint8)
        mask[3, 4] = 255
        for stem in names:
            save_image(base / "test_public/ground_truth/bad" / f"{stem}_mask.png", mask)
        return root

    return make
