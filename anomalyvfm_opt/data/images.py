"""Reads one image or mask file, whatever its format and mode, or says what is wrong with it."""

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from anomalyvfm_opt.data.complaints import listening
from anomalyvfm_opt.data.damage import BROKEN, find_damage
from anomalyvfm_opt.data.metadata import leave_out_metadata
from anomalyvfm_opt.errors import BadDataError
from anomalyvfm_opt.files import NotPlainError, open_plain

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Of image and mask files, in any letter case."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # by content; Pillow would also start programs to read an EPS file
_AGAIN = "copy it again, or save it as 8-bit PNG"
_EIGHT_BITS = "save it with 8 bits a channel, or as grey of 16 bits"
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_DEEP_GREY = (*_SIXTEEN_BITS, "I", "F")
_PHOTOMETRIC, _SAMPLE_FORMAT = 262, 339  # tags of a TIFF file
_WHITE_IS_ZERO, _UNSIGNED = 0, 1
_UPRIGHT, _TURNED = 1, (5, 6, 7, 8)  # EXIF orientations that swap height and width
_HALF = 127  # of 8 bits

# What Pillow has to say about a file comes out as an error of ours or not at all, never beside our messages.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Form:
    """What an image file holds.

    Args:
        size_px: (width, height), turned as the EXIF orientation says.
        mode: channels, in Pillow's words: `L` is grey, `RGB` colour, `I;16` grey of 16 bits.
        peak: the largest value of grey of 16 bits; None in other modes.
        colour: that all pixels have, red, green and blue, after decoding; None if there are several.
        has_transparency: whether some of its pixels could be transparent.
        sha256: of the decoded pixels, hexadecimal: the same for the same image in another file.
        notes: what was left out to read it, and what else is odd about the file.
    """

    size_px: tuple[int, int]
    mode: str
    peak: int | None
    colour: tuple[int, int, int] | None
    has_transparency: bool
    sha256: str
    notes: tuple[str, ...] = ()


def read_image(path: Path, notes: list[str] | None = None) -> Image.Image:
    """Return an image as 8-bit RGB, turned as its EXIF orientation says.

    Grey is repeated in the three channels; 16 bits become 8 by the fixed factor 1/257, never by an image's own
    extremes; what is transparent becomes black; of several pages the first is read.

    Args:
        path: of the file.
        notes: takes what is odd about the file, such as further pages; None for nobody who wants to know.

    Raises:
        BadDataError: the file cannot be read or decoded, or not without loss.
    """
    with _opened(path, notes=notes) as image:
        return _to_rgb(_turn(image), str(path))


def convert_image(image: Image.Image, name: str) -> Image.Image:
    """Return an image that somebody opened with Pillow as `read_image` returns that of a file.

    Args:
        image: of any mode.
        name: of the image, for messages.

    Raises:
        BadDataError: it cannot be decoded, or not without loss.
    """
    try:
        return _to_rgb(_turn(image), name)
    except BROKEN as error:
        raise BadDataError(f"cannot decode {name}: {error}", _AGAIN) from None


def read_mask(path: Path) -> np.ndarray:
    """Return a mask: bool (h, w), true where any colour channel is not 0; in a JPEG file, where it is above half.

    A JPEG file has faint noise around every edge, which would be taken for the defect.

    Raises:
        BadDataError: the file cannot be read or decoded, or not without loss.
    """
    with _opened(path) as image:
        is_lossy = image.format in ("JPEG", "MPO")
        turned = _turn(image)
        pixels = np.atleast_3d(np.asarray(turned if turned.mode in _DEEP_GREY else _flatten(turned)))
    is_marked: np.ndarray = pixels > _HALF if is_lossy else pixels != 0
    is_anomalous: np.ndarray = np.any(is_marked, axis=-1)
    return is_anomalous


def read_form(path: Path) -> Form:
    """Return what an image holds, after decoding all of it.

    Raises:
        BadDataError: the file cannot be read or decoded, or not without loss.
    """
    notes: list[str] = []
    with _opened(path, notes=notes) as image:
        mode, has_transparency = image.mode, image.has_transparency_data
        peak = int(np.asarray(image).max()) if mode in _SIXTEEN_BITS else None
        rgb = _to_rgb(_turn(image), str(path))
    extrema: Any = rgb.getextrema()
    is_constant = all(least == greatest for least, greatest in extrema)
    return Form(
        size_px=rgb.size,
        mode=mode,
        peak=peak,
        colour=tuple(least for least, _ in extrema) if is_constant else None,
        has_transparency=has_transparency,
        sha256=hashlib.sha256(f"{rgb.size}".encode() + rgb.tobytes()).hexdigest(),
        notes=tuple(notes),
    )


def read_size_px(path: Path) -> tuple[int, int]:
    """Height and width of an image, turned as its EXIF orientation says; only its header is read.

    Raises:
        BadDataError: the file or its header cannot be read.
    """
    with _opened(path, is_decoded=False) as image:
        # Pillow turns the size of a TIFF file when it opens it
        is_turned = image.format != "TIFF" and _read_orientation(image) in _TURNED
        return (image.width, image.height) if is_turned else (image.height, image.width)


@contextlib.contextmanager
def _opened(path: Path, is_decoded: bool = True, notes: list[str] | None = None) -> Iterator[Image.Image]:
    """Open and decode: Pillow opens lazily, so that a file that is cut off fails only when it is loaded."""
    try:
        # by file and not by name: what Pillow maps into memory by name, it scrambles where a TIFF file is turned
        with open_plain(path) as file, _identify(file, path, is_decoded, [] if notes is None else notes) as image:
            yield image
    except UnidentifiedImageError:
        raise BadDataError(
            f"{path} is not an image, or its header is damaged, or its kind of pixels is unknown", _AGAIN
        ) from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise BadDataError(f"{path} has more than {limit} million pixels", "cut it into smaller images") from None
    except IsADirectoryError:
        raise BadDataError(f"{path} is a folder, not an image", "name the images in it") from None
    except NotPlainError as error:
        raise BadDataError(f"cannot read {path}: {error.strerror}", "save what it gives as a file") from None
    except BROKEN as error:
        if _is_broken_link(path):
            raise BadDataError(f"{path} is a broken link to {path.readlink()}", "copy the file itself") from None
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        hint = "" if isinstance(error, FileNotFoundError | PermissionError) else _AGAIN
        raise BadDataError(f"cannot read {path}: {reason}", hint) from None


def _is_broken_link(path: Path) -> bool:
    try:
        return path.is_symlink() and not path.exists()
    except OSError:
        return False  # such as a name that is too long


def _identify(file: BufferedReader, path: Path, is_decoded: bool, notes: list[str]) -> Image.Image:
    """Open and decode a file, without its metadata where that is what Pillow cannot read; `notes` then say so."""
    if not file.peek(1):
        raise BadDataError(f"{path} is an empty file", "copy it again")
    try:
        return _decode(file, path, is_decoded, notes)
    except BROKEN as error:
        bare = leave_out_metadata(file)
        if bare is None:
            raise
        try:
            image = _decode(bare, path, is_decoded, notes)
        except BROKEN:
            raise error from None  # it says what is wrong with the file itself
        notes.append("has metadata (texts, profiles) that cannot be read and is left out")
        return image


def _decode(file: BinaryIO, path: Path, is_decoded: bool, notes: list[str]) -> Image.Image:
    image = Image.open(file, formats=_FORMATS)
    loss = _find_loss(image)
    if loss:
        raise BadDataError(f"{path} has {loss}, which cannot be read without loss", _EIGHT_BITS)
    if is_decoded:
        with listening() as complaints:
            image.load()
        damage = complaints[0] if complaints else find_damage(image, file)
        if damage:
            raise BadDataError(f"{path} is damaged: {damage}", _AGAIN)
        pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a telephone's extra views
        if pages > 1:
            notes.append(f"has {pages} pages, of which the first is read")
    return image


def _turn(image: Image.Image) -> Image.Image:
    """Return an image turned as its EXIF orientation says; as it is where that cannot be read."""
    return image if _read_orientation(image) == _UPRIGHT else ImageOps.exif_transpose(image)


def _read_orientation(image: Image.Image) -> int:
    try:
        orientation: int = image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT)
    except BROKEN:
        return _UPRIGHT
    return orientation


def _find_loss(image: Image.Image) -> str | None:
    """Find what Pillow would misread without a word, before decoding, while the file's own form is known."""
    if image.format not in ("PNG", "TIFF"):
        return None
    tiles = getattr(image, "tile", [])  # how the decoder was told to take the bytes: PNG `RGB;16B`, TIFF a tuple
    layouts = [tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0]) for tile in tiles]
    if image.mode not in _DEEP_GREY and any(";16" in layout for layout in layouts):
        return "16 bits a channel"
    if "I;12" in layouts:
        return "12 bits a pixel"
    tags = getattr(image, "tag_v2", {})
    if image.mode in _SIXTEEN_BITS and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        return "16 bits a pixel of which 0 is white"
    if image.mode not in _DEEP_GREY and tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] not in (_UNSIGNED, 4):
        return "pixels with a sign"
    return None


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode in _DEEP_GREY:
        return Image.fromarray(_to_eight_bits(np.asarray(image), image.mode, name)).convert("RGB")
    return _flatten(image)


def _flatten(image: Image.Image) -> Image.Image:
    """Every mode of 8 bits or fewer as RGB: what is transparent becomes black."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "black"), rgba).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(pixels: np.ndarray, mode: str, name: str) -> np.ndarray:
    """Grey of 16 bits, uint8 (h, w); other deep grey has no fixed white that could be scaled to 255."""
    if mode not in _SIXTEEN_BITS:
        kind = "floating-point" if mode == "F" else "signed or 32-bit"
        raise BadDataError(f"{name} has {kind} pixels ({pixels.min()} to {pixels.max()})", _EIGHT_BITS)
    return np.round(pixels.astype(np.float32) / 257).astype(np.uint8)
