"""Sound pixels among metadata that cannot be read are read; damage of the pixels themselves is a problem."""

import io
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.data.images import read_form, read_image, read_mask, read_size_px
from anomalyvfm_opt.errors import BadDataError
from tests.unit.data.conftest import make_pixels
from tests.unit.data.refusals import is_refused

LARGE = b"A" * 2_000_000
SIGNATURE_AND_HEAD = 8 + 25
PIXELS = make_pixels(5, 40, 60)


def make_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def save_png(path: Path, chunks: bytes, *, is_behind: bool = False) -> Path:
    """A PNG file with chunks before or behind its pixels."""
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG")
    content = buffer.getvalue()
    at = content.rindex(b"IEND") - 4 if is_behind else SIGNATURE_AND_HEAD
    path.write_bytes(content[:at] + chunks + content[at:])
    return path


def save_jpeg(path: Path, marker: int, data: bytes) -> Path:
    """A JPEG file with a segment before all others."""
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG")
    content = buffer.getvalue()
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data
    path.write_bytes(content[:2] + segment + content[2:])
    return path


PNG_METADATA = {
    "a large compressed text": make_chunk(b"zTXt", b"k\0\0" + zlib.compress(LARGE)),
    "a large profile": make_chunk(b"iCCP", b"k\0\0" + zlib.compress(LARGE)),
    "a large international text": make_chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(LARGE)),
    "texts that are large together": make_chunk(b"tEXt", b"k\0" + LARGE[:900_000]) * 80,
    "a text compressed by an unknown method": make_chunk(b"zTXt", b"k\0\5nothing"),
    "a text whose checksum is wrong": make_chunk(b"tEXt", b"k\0v")[:-4] + b"\0\0\0\0",
    "a resolution that is cut off": make_chunk(b"pHYs", b"\0"),
    "an animation that is cut off": make_chunk(b"acTL", b"\0"),
}


@pytest.mark.parametrize("is_behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("name", PNG_METADATA)
def test_pixels_of_a_png_file_are_read_whatever_its_metadata_is(
    tmp_path: Path, name: str, is_behind: bool
) -> None:
    path = save_png(tmp_path / "a.png", PNG_METADATA[name], is_behind=is_behind)
    assert (np.asarray(read_image(path)) == PIXELS).all()
    assert read_size_px(path) == (40, 60)
    assert read_form(path).notes in ((), ("has metadata (texts, profiles) that cannot be read and is left out",))
    assert read_mask(path).shape == (40, 60)


def test_what_was_left_out_is_noted(tmp_path: Path) -> None:
    path = save_png(tmp_path / "a.png", PNG_METADATA["a large profile"])
    assert read_form(path).notes == ("has metadata (texts, profiles) that cannot be read and is left out",)


@pytest.mark.parametrize(
    ("marker", "data"),
    [(0xE2, b"ICC_PROFILE\0"), (0xE0, b"JFIF\0"), (0xE1, b"Exif\0\0garbage")],
    ids=["a profile that is cut off", "a head that is cut off", "an orientation that is none"],
)
def test_pixels_of_a_jpeg_file_are_read_whatever_its_metadata_is(tmp_path: Path, marker: int, data: bytes) -> None:
    path = save_jpeg(tmp_path / "a.jpg", marker, data)
    plain = tmp_path / "plain.jpg"
    Image.fromarray(PIXELS).save(plain)
    assert (np.asarray(read_image(path)) == np.asarray(read_image(plain))).all()


def test_the_orientation_is_kept_where_other_metadata_is_left_out(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    path = save_png(tmp_path / "a.png", make_chunk(b"eXIf", data) + PNG_METADATA["a large compressed text"])
    assert (np.asarray(read_image(path)) == np.rot90(PIXELS, k=-1)).all()
    assert read_size_px(path) == (60, 40)


def test_an_orientation_that_cannot_be_read_turns_nothing(tmp_path: Path) -> None:
    path = save_png(tmp_path / "a.png", make_chunk(b"eXIf", b"garbage!"))
    assert (np.asarray(read_image(path)) == PIXELS).all()
    assert read_size_px(path) == (40, 60)


def test_colours_that_depend_on_metadata_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="tRNS"):
        read_image(save_png(tmp_path / "a.png", make_chunk(b"tRNS", b"\0")))


def _flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 8]) + content[at + 1 :]


def _save_tiff(compression: str) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        rows, columns = np.mgrid[:200, :220]
        stripes = np.sin(rows / 9) + np.cos(columns / 7) + np.random.default_rng(0).normal(0, 0.1, (200, 220))
        image = Image.fromarray(stripes > 0) if compression.startswith("group") else Image.fromarray(PIXELS)
        image.save(path, compression=compression)

    return save


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("a.tif", _save_tiff("group4")),
        ("a.tif", _save_tiff("tiff_adobe_deflate")),
        ("a.png", lambda path: Image.fromarray(PIXELS).save(path)),
    ],
    ids=["group4", "deflate", "png"],
)
def test_what_a_decoder_complains_of_is_a_problem_of_that_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, save: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    save(path)
    read_image(path)
    content = path.read_bytes()
    path.write_bytes(_flip(content, len(content) // 3))
    for read in (read_image, read_form, read_mask):
        with pytest.raises(BadDataError, match=name) as caught:
            read(path)
        assert "copy it again" in caught.value.hint
    assert capfd.readouterr().err == ""


def test_a_damaged_fax_is_named_with_what_its_decoder_says(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    _save_tiff("group4")(path)
    content = path.read_bytes()
    path.write_bytes(_flip(content, len(content) // 3))
    with pytest.raises(BadDataError, match="is damaged: Bad code word at line"):
        read_image(path)


def test_tags_that_no_decoder_knows_are_no_problem(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(PIXELS).save(path, compression="tiff_lzw", tiffinfo={65000: "of a camera", 700: b"<x" * 99})
    assert (np.asarray(read_image(path)) == PIXELS).all()
    assert capfd.readouterr().err == ""


def test_files_side_by_side_hear_of_their_own_damage(tmp_path: Path) -> None:
    sound, damaged = tmp_path / "sound.tif", tmp_path / "damaged.tif"
    _save_tiff("group4")(sound)
    content = sound.read_bytes()
    damaged.write_bytes(_flip(content, len(content) // 3))
    paths = [sound, damaged] * 40

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(is_refused, paths)) == [path == damaged for path in paths]
