"""Images from wherever a caller has them, and what is no image."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt import load_detector
from anomalyvfm_opt.errors import BadDataError, UsageError
from anomalyvfm_opt.inference.standalone import StandaloneDetector
from tests.unit.inference.folders import export


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneDetector]:
    made = export(tmp_path_factory.mktemp("made") / "detector", "vit", None)
    with load_detector(made.folder, device="cpu", batch=2) as detector:
        yield detector


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (50, 90, 3), dtype=np.uint8)


def test_a_file_an_array_and_an_image_of_pillow_are_one(
    detector: StandaloneDetector, pixels: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(pixels).save(path)
    found = detector.predict([path, str(path), pixels, Image.fromarray(pixels), Image.open(path)])
    assert len({one.score for one in found}) <= 2  # the last chunk is of another size
    assert np.ptp([one.score for one in found]) < 1e-5
    assert [one.image for one in found] == [str(path), str(path), "image 2", "image 3", "image 4"]


def test_one_image_needs_no_list(detector: StandaloneDetector, pixels: np.ndarray) -> None:
    assert detector.predict(pixels)[0].image == "image 0"
    assert len(detector.predict(np.stack([pixels, pixels]))) == 2
    assert detector.predict([]) == []


def test_maps_have_the_sizes_of_frame_and_image(detector: StandaloneDetector, pixels: np.ndarray) -> None:
    (found,) = detector.predict(pixels)
    assert found.map_in_frame().shape == (64, 64)
    assert found.map_at_image().shape == (50, 90)
    assert found.map_at_image().dtype == np.float32
    assert found.map_at_image().max() <= found.map.max() + 1e-6
    mask = found.mask_at_image()
    assert mask is not None
    assert mask.shape == (50, 90)


def test_images_are_asked_for_as_they_are_needed(detector: StandaloneDetector, pixels: np.ndarray) -> None:
    asked = []

    def give() -> Iterator[np.ndarray]:
        for index in range(100):
            asked.append(index)
            yield pixels

    found = detector.iterate(give())
    next(found)
    assert len(asked) == 2  # a batch


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((8, 8), np.uint8), "uint8 (8, 8)"),
        (np.zeros((8, 8, 4), np.uint8), "uint8 (8, 8, 4)"),
        (np.zeros((8, 8, 3), np.float32), "float32"),
        (np.zeros((0, 8, 3), np.uint8), "(0, 8, 3)"),
        (3, "int"),
        (None, "NoneType"),
        (b"bytes", "bytes"),
        ("a\0b.png", "NUL"),
        (Image.new("F", (8, 8)), "floating-point"),
        (Image.new("RGB", (0, 8)), "no pixels"),
        ("nowhere.png", "nowhere.png"),
        ("", "is a folder"),
    ],
)
def test_what_is_no_image_is_refused(detector: StandaloneDetector, image: Any, said: str) -> None:
    with pytest.raises((UsageError, BadDataError)) as refused:
        detector.predict([image])
    assert said in str(refused.value)


def test_what_is_no_list_is_refused(detector: StandaloneDetector) -> None:
    with pytest.raises(UsageError, match="no list of images"):
        detector.predict(3)  # type: ignore[arg-type]


def test_the_package_is_imported_without_torch() -> None:
    code = (
        "import sys; from anomalyvfm_opt import load_detector;"
        " assert not {'torch', 'numpy', 'sqlalchemy', 'optuna'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_detector_is_loaded_without_a_database(detector: StandaloneDetector) -> None:
    code = (
        f"import sys; from anomalyvfm_opt import load_detector; load_detector({str(detector.folder)!r});"
        " assert not {'sqlalchemy', 'optuna', 'psycopg2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
