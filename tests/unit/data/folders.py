"""Writes small data folders of every layout, of real image files, for the tests that read them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

SIZE_PX = (10, 8)  # width, height


def make_pixels(seed: int, height: int = SIZE_PX[1], width: int = SIZE_PX[0]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_image(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def save_mask(path: Path) -> Path:
    """A mask with one pixel."""
    mask = np.zeros(SIZE_PX[::-1], np.uint8)
    mask[3, 4] = 255
    return save_image(path, mask)


def write_images(folder: Path, stems: Iterable[str], first_seed: int = 0, suffix: str = ".png") -> None:
    for i, stem in enumerate(stems):
        save_image(folder / f"{stem}{suffix}", make_pixels(first_seed + i))


def write_mvtec_ad2(
    root: Path,
    category: str = "can",
    train: int = 4,
    validation: int = 2,
    scenes: int = 2,
    is_doubled: bool = False,
) -> Path:
    """Each test scene under two lights, every bad image with a mask; returns the folder of the parts."""
    base = _place(root, category, is_doubled)
    write_images(base / "train/good", [f"{i:03d}_regular" for i in range(train)])
    write_images(base / "validation/good", [f"{i:03d}_regular" for i in range(validation)], 100)
    stems = [f"{i:03d}_{light}" for i in range(scenes) for light in ("regular", "shift_1")]
    write_images(base / "test_public/good", stems, 200)
    write_images(base / "test_public/bad", stems, 300)
    for stem in stems:
        save_mask(base / f"test_public/ground_truth/bad/{stem}_mask.png")
    return base


def write_mvtec_ad(
    root: Path,
    category: str = "bottle",
    train: int = 10,
    validation: int = 0,
    good: int = 3,
    defects: Mapping[str, int] | None = None,
    mask_end: str | None = "_mask.png",
    suffix: str = ".png",
    is_doubled: bool = False,
) -> Path:
    """Numbered images, 2 cracks and 3 dents unless told; `mask_end` None writes no masks."""
    base = _place(root, category, is_doubled)
    for part, count, seed in (("train", train, 0), ("validation", validation, 100), ("test", good, 200)):
        write_images(base / part / "good", [f"{i:03d}" for i in range(count)], seed, suffix)
    for seed, (kind, count) in enumerate(({"crack": 2, "dent": 3} if defects is None else defects).items(), 3):
        stems = [f"{i:03d}" for i in range(count)]
        write_images(base / "test" / kind, stems, 100 * seed, suffix)
        if mask_end is not None:
            for stem in stems:
                save_mask(base / "ground_truth" / kind / f"{stem}{mask_end}")
    return base


def write_plain(
    root: Path,
    category: str = "tile",
    train: int = 10,
    validation: int = 0,
    good: int = 3,
    bad: int = 4,
    mask_end: str | None = None,
    suffix: str = ".png",
    is_doubled: bool = False,
) -> Path:
    """Numbered images in `train/good`, `test/good` and `test/bad`; `mask_end` such as `_mask.png` adds masks."""
    return write_mvtec_ad(root, category, train, validation, good, {"bad": bad}, mask_end, suffix, is_doubled)


def _place(root: Path, category: str, is_doubled: bool) -> Path:
    return root / category / category if is_doubled else root / category
