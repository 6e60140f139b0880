"""Demo data: crops of real photographs, some of them with a defect, laid out like MVTec AD 2."""

import json
import math
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from anomalyvfm_opt.data.defects import DEFECTS, add_defect
from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.files import TooLargeError, read_plain


@dataclass(frozen=True)
class DemoCategory:
    """A category that is cut from a photograph of scikit-image's.

    Args:
        strength: of its defects, see `add_defect`.
        scenes: of each label that there are to test on.
    """

    strength: float
    scenes: int


# on a dozen locked scenes nothing can be decided; grass has enough for a verdict on its small differences
DEMO_CATEGORIES = {
    "brick": DemoCategory(strength=1.3, scenes=24),
    "gravel": DemoCategory(strength=2.4, scenes=24),
    "grass": DemoCategory(strength=2.6, scenes=96),
}

_MARKER = "demo.json"
_MOST_MARKER_BYTES = 2**16
_VERSION = 2  # raise it with every change of the images
_TRAIN, _VALIDATION = 48, 16
_STRIPS = {"train": (0, 2), "test": (1,), "validation": (3,)}
"""Quarters of the photograph's width: no pixel is in two parts, else to remember would be to detect."""
_CROP_PX, _TURN_DEGREES = (84, 104), 6.0  # of a photograph of 512 px
_LIGHTS = {"regular": (1.0, 1.0), "overexposed": (1.25, 0.9), "underexposed": (0.75, 1.1)}
"""Gain and gamma."""
_JITTER, _NOISE_SD = 0.06, 1.5


def write_demo(folder: Path, seed: int = 0, image_size_px: int = 128) -> list[str]:
    """Write the demo's categories; to call it again with the same seed and size changes nothing.

    A category has 48 images for training, 16 for validation and 24 test scenes per label, grass 96, every third of
    them under two lights. The folder gets its name when it is complete.

    Args:
        folder: a new or an empty folder, or one that was written before.
        seed: 0 or more; other seeds give other crops and other defects.
        image_size_px: side of the square images.

    Returns:
        The names of the categories.

    Raises:
        UsageError: the folder holds something else.
        EnvironmentMissingError: scikit-image is not installed, or the folder cannot be written to.
    """
    marker = {"demo": _VERSION, "seed": seed, "image_size_px": image_size_px}
    part = folder.absolute().parent / f".{folder.absolute().name}.{secrets.token_hex(4)}.part"
    try:
        if _is_complete(folder, marker):
            return list(DEMO_CATEGORIES)
        photographs = {name: _load_photograph(name) for name in DEMO_CATEGORIES}
        with _new_folder(part):
            for i, (name, photograph) in enumerate(photographs.items()):
                rng = np.random.default_rng([seed, i])
                _write_normal(part / name, photograph, image_size_px, rng)
                _write_test(part / name, photograph, image_size_px, category=DEMO_CATEGORIES[name], rng=rng)
            marker_text = json.dumps({**marker, "files": _count_files(part)})
            (part / _MARKER).write_text(marker_text + "\n", encoding="utf-8")
            _rename(part, folder, marker)
    except OSError as error:
        raise EnvironmentMissingError(
            f"cannot write demo data to {folder}: {error.strerror}", "give a new folder on a disk with space"
        ) from None
    return list(DEMO_CATEGORIES)


@contextmanager
def _new_folder(path: Path) -> Iterator[None]:
    """Make a folder, and remove what is left of it at the end; one that is there already is nobody's to remove."""
    path.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _is_complete(folder: Path, marker: dict[str, int]) -> bool:
    """Return whether the very same demo data is there; False if nothing is.

    Raises:
        UsageError: something else is there.
    """
    if folder.is_file():
        raise UsageError(f"{folder} is a file", "give a new folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    try:
        found = json.loads(read_plain(folder / _MARKER, _MOST_MARKER_BYTES))
    except (FileNotFoundError, TooLargeError, ValueError, RecursionError):
        raise UsageError(f"{folder} is not empty and is no demo data", "give a new folder") from None
    if found != {**marker, "files": _count_files(folder)}:
        raise UsageError(
            f"{folder} holds other or incomplete demo data: {found}", "delete it, or give a new folder"
        )
    return True


def _count_files(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*/**/*.png"))


def _rename(part: Path, folder: Path, marker: dict[str, int]) -> None:
    try:
        part.replace(folder)
    except OSError:
        if not _is_complete(folder, marker):  # else another process has written it meanwhile
            raise


def _load_photograph(name: str) -> np.ndarray:
    """Return a grey photograph of scikit-image's: uint8 (h, w)."""
    try:
        from skimage import data
    except ImportError:
        raise EnvironmentMissingError(
            "the demo's photographs come with scikit-image, which is not installed",
            "pip install 'anomalyvfm-opt[offline]'",
        ) from None
    photograph: np.ndarray = getattr(data, name)()
    return photograph


def _write_normal(folder: Path, photograph: np.ndarray, image_size_px: int, rng: np.random.Generator) -> None:
    for part, count in (("train", _TRAIN), ("validation", _VALIDATION)):
        for number in range(count):
            crop = _crop(photograph, part, image_size_px, rng)
            _save(folder / part / "good" / f"{number:03d}_regular.png", _expose(crop, "regular", rng))


def _write_test(
    folder: Path, photograph: np.ndarray, image_size_px: int, *, category: DemoCategory, rng: np.random.Generator
) -> None:
    kinds = list(DEFECTS)
    for number in range(category.scenes):
        other = ("overexposed", "underexposed")[number // 3 % 2]
        lights = ("regular", other) if number % 3 == 0 else ("regular",)
        good = _crop(photograph, "test", image_size_px, rng)
        flawless = _crop(photograph, "test", image_size_px, rng)
        bad, mask = add_defect(flawless, kinds[number % len(kinds)], category.strength, rng)
        for light in lights:
            name = f"{number:03d}_{light}"
            _save(folder / "test_public/good" / f"{name}.png", _expose(good, light, rng))
            _save(folder / "test_public/bad" / f"{name}.png", _expose(bad, light, rng))
            _save(folder / "test_public/ground_truth/bad" / f"{name}_mask.png", mask * 255)


def _crop(photograph: np.ndarray, part: str, image_size_px: int, rng: np.random.Generator) -> np.ndarray:
    """Return a turned, scaled and perhaps mirrored window of a part's strips: float32 (size, size) in 0-255."""
    height, width = photograph.shape
    side = rng.uniform(*_CROP_PX) * min(height, width) / 512
    angle = math.radians(rng.uniform(-_TURN_DEGREES, _TURN_DEGREES))
    reach = side / 2 * (math.cos(angle) + abs(math.sin(angle))) + 1  # half of what the turned window spans
    strip = rng.choice(_STRIPS[part])
    low, high = width * strip / 4, width * (strip + 1) / 4
    centre_x, centre_y = rng.uniform(low + reach, high - reach), rng.uniform(reach, height - reach)
    step = side / image_size_px
    cos, sin, half = step * math.cos(angle), step * math.sin(angle), image_size_px / 2
    matrix = (cos, sin, centre_x - half * (cos + sin), -sin, cos, centre_y - half * (cos - sin))
    size = (image_size_px, image_size_px)
    window = Image.fromarray(photograph).transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    pixels = np.asarray(window, dtype=np.float32)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def _expose(pixels: np.ndarray, light: str, rng: np.random.Generator) -> np.ndarray:
    """Return the image as a camera would take it under a light: uint8 (h, w)."""
    gain, gamma = _LIGHTS[light]
    gain *= 1 + rng.uniform(-_JITTER, _JITTER)
    exposed = 255 * np.clip(gain * pixels / 255, 0, 1) ** gamma + rng.normal(0, _NOISE_SD, pixels.shape)
    return np.clip(np.round(exposed), 0, 255).astype(np.uint8)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
