"""Small submissions to inspect: the layout is the server's, the numbers of images are not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from anomalyvfm_opt.inference.pictures import pack_picture
from anomalyvfm_opt.inference.submission.layout import SETS, Place, list_places
from anomalyvfm_opt.inference.submission.tiff import pack_map

MAP = "anomaly_images/can/test_private/001_regular.tiff"  # one of those that `write_submission` writes
FEW = {"can": 3, "vial": 2}
SIZE_PX = (6, 9)  # height and width
WANTED: dict[Place, tuple[int, int] | None] = dict.fromkeys(list_places(FEW), SIZE_PX)


def write_submission(root: Path, wanted: dict[Place, tuple[int, int] | None] = WANTED) -> Path:
    """Write maps of noise, each with its thresholded one."""
    rng = np.random.default_rng(0)
    for place, size_px in wanted.items():
        half = rng.normal(size=size_px or SIZE_PX).astype(np.float16)
        contents = {
            place.map_path: pack_map(half),
            place.mask_path: pack_picture((half > 1).astype(np.uint8) * 255, "PNG"),
        }
        for name, content in contents.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
    return root


def write_data(root: Path, images: dict[str, int] = FEW, size_px: tuple[int, int] = (40, 56)) -> Path:
    """Write a data folder with private images of noise, and one image to train on in each category."""
    rng = np.random.default_rng(1)
    for category, count in images.items():
        names = [f"{set_name}/{n:03}_{light}.png" for set_name, light in SETS.items() for n in range(count)]
        for name in ["train/good/000_regular.png", "test_public/good/000_regular.png", *names]:
            path = root / category / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (*size_px, 3), dtype=np.uint8)).save(path)
    return root


def put_map(half: np.ndarray) -> Callable[[Path], object]:
    """Return what puts a map into a submission."""
    return lambda root: (root / MAP).write_bytes(pack_map(half))


def put_value(value: float) -> Callable[[Path], object]:
    """Return what puts a map into a submission that has a value in one place."""
    half = np.ones(SIZE_PX, np.float16)
    half[2, 3] = value
    return put_map(half)
