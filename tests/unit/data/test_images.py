import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.data.images import read_form, read_image, read_mask
from anomalyvfm_opt.errors import BadDataError
from tests.unit.data.conftest import make_pixels, save_image

_BANDS_TAG = 277


def _pixels(path: Path) -> np.ndarray:
    return np.asarray(read_image(path))


def test_grey_is_repeated_in_three_channels(tmp_path: Path) -> None:
    grey = make_pixels(0)[..., 0]
    assert (_pixels(save_image(tmp_path / "a.png", grey)) == grey[..., None]).all()


def test_sixteen_bits_become_eight_by_a_fixed_factor(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 25700, 65535]], np.uint16)
    path = save_image(tmp_path / "a.png", deep)
    form = read_form(path)
    assert (form.size_px, form.mode, form.notes, form.peak, form.colour) == ((4, 1), "I;16", (), 65535, None)
    assert _pixels(path)[0, :, 0].tolist() == [0, 1, 100, 255]


def test_palette_becomes_its_colours(tmp_path: Path) -> None:
    colours = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    assert (_pixels(tmp_path / "a.png") == colours).all()


def test_what_is_transparent_becomes_black(tmp_path: Path) -> None:
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0]]], np.uint8)
    assert _pixels(save_image(tmp_path / "a.png", rgba)).tolist() == [[[200, 100, 50], [0, 0, 0]]]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    pixels = make_pixels(1, height=4, width=6)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert (_pixels(tmp_path / "a.png") == np.rot90(pixels, k=-1)).all()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
def test_a_file_that_is_cut_off_is_named_with_the_reason(tmp_path: Path, share: float) -> None:
    path = save_image(tmp_path / "cut.png", make_pixels(2, 60, 60))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadDataError, match=r"cut\.png.* (truncated|empty file|not an image|header)") as caught:
        read_image(path)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("place", range(8, 200, 9))
def test_a_damaged_byte_is_an_error_that_names_the_file_or_no_error(tmp_path: Path, place: int) -> None:
    path = save_image(tmp_path / "hurt.png", make_pixels(3, 40, 40))
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    errors = []
    try:
        read_image(path)
    except BadDataError as error:
        errors.append(error.message)
    assert all("hurt.png" in message for message in errors)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=r"gone\.png: No such file"):
        read_image(tmp_path / "gone.png")


def test_a_text_file_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(BadDataError, match="not an image"):
        read_image(tmp_path / "a.png")


def test_a_broken_link_is_named_with_its_target(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("elsewhere.png")
    with pytest.raises(BadDataError, match=r"a\.png is a broken link to elsewhere\.png"):
        read_image(tmp_path / "a.png")


def test_content_counts_and_not_the_suffix(tmp_path: Path) -> None:
    Image.fromarray(make_pixels(0)).save(tmp_path / "a.bmp")
    (tmp_path / "a.bmp").rename(tmp_path / "a.png")
    assert (_pixels(tmp_path / "a.png") == make_pixels(0)).all()
    Image.fromarray(make_pixels(0)).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "b.png")
    with pytest.raises(BadDataError, match=r"b\.png is not an image"):
        read_image(tmp_path / "b.png")


def test_of_several_pages_the_first_is_read(tmp_path: Path) -> None:
    pages = [Image.fromarray(make_pixels(seed)) for seed in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert read_form(tmp_path / "a.tif").notes == ("has 3 pages, of which the first is read",)
    assert (_pixels(tmp_path / "a.tif") == make_pixels(0)).all()


def test_too_many_pixels_are_refused_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_image(tmp_path / "a.png", np.zeros((2000, 3000), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_500_000)
    with pytest.raises(BadDataError, match=r"a\.png has more than 5 million pixels.*smaller images"):
        read_image(path)


def test_nothing_is_said_beside_an_error(tmp_path: Path) -> None:
    """Neither of many pixels, as a line camera has them, nor of what Pillow logs or warns about on the way."""
    large = tmp_path / "large.png"
    Image.new("1", (10_000, 9_000)).save(large)
    Image.new("RGB", (4, 4)).save(tmp_path / "bands.tif")
    bands = bytearray((tmp_path / "bands.tif").read_bytes())
    place = bands.index(struct.pack("<HHI", _BANDS_TAG, 3, 1)) + 8
    bands[place : place + 2] = struct.pack("<H", 9)
    (tmp_path / "bands.tif").write_bytes(bands)
    code = """
import sys
from pathlib import Path
from anomalyvfm_opt.data.images import read_form
from anomalyvfm_opt.errors import BadDataError
print(read_form(Path(sys.argv[1])).size_px)
try:
    read_form(Path(sys.argv[2]))
except BadDataError as error:
    print(error)
"""
    command = [sys.executable, "-c", code, str(large), str(tmp_path / "bands.tif")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"(10000, 9000)\n{tmp_path / 'bands.tif'} is not an image")
    assert done.stderr == ""


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_a_mask_is_true_where_anything_is_marked_in_any_mode(tmp_path: Path, mode: str) -> None:
    marked = np.zeros((5, 6), np.uint8)
    marked[1, 2] = 255
    image = Image.fromarray(marked.astype(np.uint16)) if mode == "I;16" else Image.fromarray(marked).convert(mode)
    image.save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png") == (marked > 0)).all()
