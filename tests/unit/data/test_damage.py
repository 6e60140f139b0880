"""Damage in the middle of a file, which decoders read past: what they notice of it is a problem of that file."""

import io
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.data.images import read_form, read_image, read_mask
from anomalyvfm_opt.errors import BadDataError
from tests.unit.data.refusals import is_refused

_FILES = 12  # damaged at as many places
_BLOCK = 200


def _draw() -> Image.Image:
    """A pattern with some noise, so that every format has something to write."""
    rows, columns = np.mgrid[:200, :220]
    waves = 127 + 60 * np.sin(rows / 9) + 60 * np.cos(columns / 7)
    noise = np.random.default_rng(0).normal(0, 4, (200, 220, 3))
    return Image.fromarray(np.clip(waves[..., None] * (1.0, 0.8, 0.5) + noise, 0, 255).astype(np.uint8))


FORMATS: dict[str, tuple[str, dict[str, object]]] = {
    "PNG": ("PNG", {}),
    "TIFF of LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF of packed bits": ("TIFF", {"compression": "packbits"}),
    "TIFF of zlib": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF of JPEG": ("TIFF", {"compression": "jpeg"}),
}
DAMAGES: dict[str, Callable[[bytes, int], bytes]] = {
    "zeros": lambda content, at: content[:at] + bytes(_BLOCK) + content[at + _BLOCK :],
    "ones": lambda content, at: content[:at] + b"\xff" * _BLOCK + content[at + _BLOCK :],
    "cut": lambda content, at: content[:at],
    "a block lost": lambda content, at: content[:at] + content[at + _BLOCK :],
}


def _encode(name: str) -> bytes:
    kind, options = FORMATS[name]
    buffer = io.BytesIO()
    _draw().save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("name", "damage"), product(FORMATS, DAMAGES))
def test_a_damaged_block_is_a_problem_of_that_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    content = _encode(name)
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert read_form(path).notes == ()
    refused = 0
    for _ in range(_FILES):
        path.write_bytes(DAMAGES[damage](content, int(rng.integers(len(content) // 3, len(content) - 2 * _BLOCK))))
        refused += is_refused(path, read_form)
    assert refused >= _FILES * 2 // 3  # the rest may hold just as many pixels as before
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["PNG", "TIFF of zlib"])
def test_where_there_is_a_checksum_every_bit_counts(tmp_path: Path, name: str) -> None:
    content = _encode(name)
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    for _ in range(_FILES):
        at = rng.integers(len(content) // 3, len(content) - 300)
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :])
        for read in (read_image, read_form, read_mask):
            with pytest.raises(BadDataError, match=r"a\.png"):
                read(path)


def test_a_jpeg_file_that_ends_early_is_a_problem_of_that_file(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    _draw().save(buffer, "JPEG", quality=90)
    path = tmp_path / "a.jpg"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(BadDataError, match=r"a\.jpg"):
        read_image(path)


def test_an_old_way_to_write_a_tiff_file_is_no_damage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.tif"
    _draw().save(path, compression="jpeg", tiffinfo={65000: "of a camera", 530: (1, 1)})
    assert read_form(path).notes == ()
    assert capfd.readouterr().err == ""
