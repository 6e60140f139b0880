"""Maps in half precision, as values and as files."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from anomalyvfm_opt.errors import BadDataError
from anomalyvfm_opt.inference.submission.half import HalfScale
from anomalyvfm_opt.inference.submission.tiff import WrongMapError, pack_map, read_map

tifffile = pytest.importorskip("tifffile")  # which the official checker reads with; scikit-image brings it

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of damaged files

RAW = arrays.arrays(np.float32, (4, 5), elements=st.floats(-100, 100, width=32))
PEAKS = arrays.arrays(np.float64, (7,), elements=st.floats(-100, 100))


@given(RAW, PEAKS, st.floats(-100, 100))
def test_order_and_side_of_the_threshold_are_kept(raw: np.ndarray, peaks: np.ndarray, threshold: float) -> None:
    scale = HalfScale.of(threshold, peaks)
    if np.abs(raw - scale.zero).max() / scale.unit > 60_000:
        return
    half = scale.convert(raw, "x")
    assert half.dtype == np.float16
    order = np.argsort(raw, axis=None)
    assert (np.diff(half.ravel()[order]) >= 0).all()
    assert (raw[half > 0] > threshold).all()
    assert (raw[half < 0] < threshold).all() or np.float32(threshold) != threshold
    np.testing.assert_allclose(half.astype(np.float64) * scale.unit + scale.zero, raw, rtol=2e-3, atol=0.2)


@pytest.mark.parametrize(
    ("peaks", "unit"), [([0.0], 2**-10), ([0.3, 0.5], 0.5), ([0.51], 1), ([-30, 20], 32), ([40_000], 65_536)]
)
def test_the_unit_is_the_power_of_two_at_or_above_the_peaks(peaks: list[float], unit: float) -> None:
    assert HalfScale.of(0.25, np.array(peaks)).unit == unit


def test_values_near_the_threshold_stay_apart_where_plain_half_precision_joins_them() -> None:
    raw = np.linspace(29.9, 30.1, 400, dtype=np.float32).reshape(20, 20)
    assert len(np.unique(raw.astype(np.float16))) < 20
    assert len(np.unique(HalfScale.of(30, np.array([30.0])).convert(raw, "x"))) > 350


def test_large_raw_values_fit_where_the_normal_ones_are_large() -> None:
    raw = np.array([[1e5, 3e6]], np.float32)
    half = HalfScale.of(1e5, np.array([1e5])).convert(raw, "x")
    assert half[0, 0] == 0
    assert 0 < half[0, 1] < 100


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_half_precision_cannot_hold_is_refused_with_its_value(value: float) -> None:
    raw = np.ones((3, 4), np.float32)
    raw[1, 2] = value
    with pytest.raises(BadDataError, match="can/000") as caught:
        HalfScale.of(0.5, np.array([1.0])).convert(raw, "can/000")
    assert f"has the value {np.float32(value):g}" in str(caught.value)


@given(arrays.arrays(np.float16, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_a_file_is_what_other_programs_read(half: np.ndarray) -> None:
    content = pack_map(half)
    read = tifffile.imread(io.BytesIO(content))
    assert (read.dtype, read.shape) == (np.float16, half.shape)
    assert read.tobytes() == half.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("rows", [None, 2])
def test_files_of_other_programs_are_read(tmp_path: Path, order: str, rows: int | None) -> None:
    half = np.linspace(-3, 900, 63).astype(np.float16).reshape(7, 9)
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, half, byteorder=order, rowsperstrip=rows)
    np.testing.assert_array_equal(read_map(path, (7, 9)), half)


def write_kind(path: Path, kind: str) -> None:
    half = np.ones((7, 9), np.float16)
    values: dict[str, np.ndarray] = {
        "is of type float32": half.astype(np.float32),
        "is of type float64": half.astype(np.float64),
        "is of type uint16": half.astype(np.uint16),
        "is of type uint8": half.astype(np.uint8),
        "is of type int16": half.astype(np.int16),
        "is 8x7 px, its image 9x7 px": half[:, :8],
        "has 3 channels": np.ones((7, 9, 3), np.float16),
    }
    if kind in values:
        tifffile.imwrite(path, values[kind], photometric="rgb" if values[kind].ndim == 3 else "minisblack")
    elif kind == "has several pages":
        tifffile.imwrite(path, np.ones((2, 7, 9), np.float16), photometric="minisblack")
    elif kind == "is compressed or tiled":
        tifffile.imwrite(path, half, compression="zlib")
    elif kind == "is no TIFF file":
        Image.fromarray(np.zeros((7, 9), np.uint8)).save(path, format="PNG")
    elif kind == "is empty":
        path.touch()
    elif kind == "cut off":
        path.write_bytes(pack_map(half)[:-1])
    elif kind == "damaged":
        path.write_bytes(b"II*\0" + struct.pack("<I", 8) + b"\xff" * 30)
    elif kind == "Is a directory":
        path.mkdir()


@pytest.mark.parametrize(
    "kind",
    [
        "is of type float32",
        "is of type float64",
        "is of type uint16",
        "is of type uint8",
        "is of type int16",
        "is 8x7 px, its image 9x7 px",
        "has 3 channels",
        "has several pages",
        "is compressed or tiled",
        "is no TIFF file",
        "is empty",
        "cut off",
        "damaged",
        "Is a directory",
    ],
)
def test_what_is_no_map_is_refused_by_what_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tiff"
    write_kind(path, kind)
    with pytest.raises(WrongMapError, match=kind):
        read_map(path, (7, 9))


@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_no_damage_ends_in_another_error(tmp_path_factory: pytest.TempPathFactory, at: int, noise: bytes) -> None:
    content = bytearray(pack_map(np.ones((7, 9), np.float16)))
    content[at : at + len(noise)] = noise
    path = tmp_path_factory.getbasetemp() / "damaged.tiff"
    path.write_bytes(content)
    try:
        assert read_map(path, (7, 9)).shape == (7, 9)
    except WrongMapError:
        return
