"""What each format may hold, bit for bit; what Pillow would read wrongly is refused."""

import struct
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.data.images import read_form, read_image, read_mask, read_size_px
from anomalyvfm_opt.errors import BadDataError
from tests.unit.data.folders import make_pixels, save_image

_MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "bmp": ("1", "L", "P", "RGB"),
    "tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"),
}
_TURNS = {1: 0, 3: 2, 6: -1, 8: 1}  # EXIF orientation -> quarter turns to the left


def _make(mode: str) -> Image.Image:
    """Random pixels that the mode can hold."""
    if mode == "I;16":
        return Image.fromarray(make_pixels(0)[..., 0].astype(np.uint16) * 257)
    image = Image.fromarray(make_pixels(0))
    return image.convert("P", palette=Image.Palette.ADAPTIVE) if mode == "P" else image.convert(mode)


def _expect(mode: str) -> np.ndarray:
    if mode == "I;16":
        return np.repeat(make_pixels(0)[..., :1], 3, axis=-1)
    return np.asarray(_make(mode).convert("RGB"))


@pytest.mark.parametrize(("suffix", "mode"), [(s, mode) for s, modes in _MODES.items() for mode in modes])
def test_every_mode_is_read_exactly(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / f"a.{suffix}"
    _make(mode).save(path)
    assert (np.asarray(read_image(path)) == _expect(mode)).all()
    assert read_form(path).size_px == (10, 8)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_is_read_nearly_exactly(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.full((16, 16, 3), (200, 120, 40), np.uint8)).convert(mode)
    image.save(tmp_path / "a.jpg", quality=100)
    difference = np.asarray(read_image(tmp_path / "a.jpg")).astype(int) - np.asarray(image.convert("RGB"))
    assert np.abs(difference).max() <= 3


@pytest.mark.parametrize(
    ("suffix", "mode", "orientation"), list(product(("png", "tif"), ("L", "RGB", "I;16"), _TURNS))
)
def test_an_image_is_turned_as_the_camera_says(tmp_path: Path, suffix: str, mode: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    _make(mode).save(path, exif=exif)
    expected = np.rot90(_expect(mode), _TURNS[orientation])
    assert (np.asarray(read_image(path)) == expected).all()
    assert read_size_px(path) == expected.shape[:2]
    assert read_form(path).size_px == expected.shape[1::-1]


def _save_png(path: Path, depth: int, kind: int, channels: int) -> None:
    """A PNG file of a form that Pillow cannot write: 2x1 px of one grey."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 2, 1, depth, kind, 0, 0, 0)
    pixels = zlib.compress(b"\0" + b"\x12" * (2 * channels * depth // 8))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def _save_tiff(path: Path, bits: int, channels: int = 1, photometric: int = 1, sample_format: int = 1) -> None:
    """The same in TIFF."""
    content = b"\x12" * (2 * channels * bits // 8)
    tags = [(256, 2), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 0), (277, channels), (278, 1)]
    tags += [(279, len(content)), (339, sample_format)]
    start = 8 + 2 + 12 * len(tags) + 4
    beyond = b"".join(struct.pack("<H", value) * channels for _, value in ((258, bits), (339, sample_format)))
    entries = b""
    for tag, value in tags:
        count = channels if tag in (258, 339) else 1
        if count > 2:
            value = start + (0 if tag == 258 else 2 * channels)
        if tag == 273:
            value = start + len(beyond)
        entries += struct.pack("<HHII", tag, 3, count, value)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    path.write_bytes(head + entries + struct.pack("<I", 0) + beyond + content)


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)], ids=["RGB", "LA", "RGBA"])
def test_deep_colour_is_refused_and_not_cut_to_eight_bits(tmp_path: Path, kind: int, channels: int) -> None:
    _save_png(tmp_path / "a.png", 16, kind, channels)
    for read in (read_image, read_mask, read_form):
        with pytest.raises(BadDataError, match=r"a\.png has 16 bits a channel.*save it with 8 bits"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"bits": 16, "channels": 3, "photometric": 2}, "has 16 bits a channel"),
        ({"bits": 16, "channels": 4, "photometric": 5}, "has 16 bits a channel"),
        ({"bits": 12}, "has 12 bits a pixel"),
        ({"bits": 16, "photometric": 0}, "of which 0 is white"),
        ({"bits": 16, "sample_format": 2}, "has signed or 32-bit pixels"),
        ({"bits": 32, "sample_format": 1}, "has signed or 32-bit pixels"),
        ({"bits": 32, "sample_format": 3}, "has floating-point pixels"),
        ({"bits": 8, "sample_format": 2}, "has pixels with a sign"),
        ({"bits": 32, "channels": 3, "photometric": 2, "sample_format": 3}, "its kind of pixels is unknown"),
        ({"bits": 64, "sample_format": 3}, "its kind of pixels is unknown"),
    ],
)
def test_what_cannot_be_read_without_loss_is_refused(tmp_path: Path, form: dict[str, int], reason: str) -> None:
    _save_tiff(tmp_path / "a.tif", **form)
    with pytest.raises(BadDataError, match=rf"a\.tif .*{reason}.*8"):
        read_image(tmp_path / "a.tif")


def test_the_same_file_of_a_sound_form_is_read(tmp_path: Path) -> None:
    """Else the refusals above could have any other reason."""
    _save_tiff(tmp_path / "a.tif", 8, channels=3, photometric=2)
    assert np.asarray(read_image(tmp_path / "a.tif")).tolist() == [[[0x12] * 3] * 2]
    _save_tiff(tmp_path / "b.tif", 16)
    assert np.asarray(read_image(tmp_path / "b.tif")).tolist() == [[[0x12] * 3] * 2]
    _save_png(tmp_path / "c.png", 8, 6, 4)
    assert read_form(tmp_path / "c.png").mode == "RGBA"


@pytest.mark.parametrize("sample_format", [1, 2, 3])
def test_a_mask_may_be_of_deep_grey(tmp_path: Path, sample_format: int) -> None:
    _save_tiff(tmp_path / "m.tif", 32, sample_format=sample_format)
    assert read_mask(tmp_path / "m.tif").tolist() == [[True, True]]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_a_mask_is_black_where_nothing_is_marked_in_any_tiff(tmp_path: Path, mode: str) -> None:
    marked = np.zeros((8, 10), np.uint8)
    marked[1, 2] = 255
    Image.fromarray(marked).convert("RGB").convert(mode).save(tmp_path / "m.tif")
    assert (read_mask(tmp_path / "m.tif") == (marked > 0)).all()


def test_the_noise_of_a_jpeg_mask_is_not_taken_for_the_defect(tmp_path: Path) -> None:
    marked = np.zeros((64, 64), np.uint8)
    marked[10:31, 17:50] = 255
    path = tmp_path / "m.jpg"
    Image.fromarray(marked).save(path, quality=60)
    with Image.open(path) as image:
        assert ((np.asarray(image) > 0) != (marked > 0)).sum() > 20
    assert (read_mask(path) == (marked > 0)).all()


def test_an_animated_png_is_read_at_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(make_pixels(seed)) for seed in range(2)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert read_form(tmp_path / "a.png").notes == ("has 2 pages, of which the first is read",)
    assert (np.asarray(read_image(tmp_path / "a.png")) == make_pixels(0)).all()


def test_sixteen_bits_tell_how_far_they_reach(tmp_path: Path) -> None:
    path = save_image(tmp_path / "a.png", np.array([[0, 4095]], np.uint16))
    assert read_form(path).peak == 4095
    assert read_form(save_image(tmp_path / "b.png", make_pixels(0))).peak is None
