"""Reads one image or mask file, whatever its mode, or says what is wrong with it."""

import contextlib
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from anomalyvfm_opt.errors import BadDataError

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""What Pillow's decoders raise on files that are cut off or damaged."""


def read_image(path: Path) -> Image.Image:
    """An image as 8-bit RGB, turned as its EXIF orientation says.

    Grey is repeated in the three channels; 16 bits become 8 by the fixed factor 1/257, never by an image's own
    extremes; what is transparent becomes black.

    Raises:
        BadDataError: the file cannot be read or decoded.
    """
    with _opened(path) as image:
        return _to_rgb(ImageOps.exif_transpose(image), path)


def read_mask(path: Path) -> np.ndarray:
    """A mask: bool (h, w), true where any colour channel is above 0.

    Raises:
        BadDataError: the file cannot be read or decoded.
    """
    with _opened(path) as image:
        pixels = np.asarray(_flatten(ImageOps.exif_transpose(image)))
    is_anomalous: np.ndarray = np.atleast_3d(pixels).max(axis=-1) > 0
    return is_anomalous


def read_form(path: Path) -> tuple[tuple[int, int], str]:
    """The (width, height) and the channel mode of an image, after decoding all of it.

    Raises:
        BadDataError: the file cannot be read or decoded.
    """
    with _opened(path) as image:
        mode = image.mode
        return _to_rgb(ImageOps.exif_transpose(image), path).size, mode


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open and decode: Pillow opens lazily, so that a file that is cut off fails only when it is loaded."""
    try:
        if path.stat().st_size == 0:
            raise BadDataError(f"{path} is an empty file", "copy it again")
        with Image.open(path) as image:
            image.load()
            yield image
    except UnidentifiedImageError:
        raise BadDataError(f"{path} is not an image, or its header is damaged", "copy it again") from None
    except _BROKEN as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BadDataError(f"cannot read {path}: {reason}", "copy it again") from None


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_eight_bits(np.asarray(image), path)).convert("RGB")
    return _flatten(image).convert("RGB")


def _flatten(image: Image.Image) -> Image.Image:
    """Palettes become colours, and what is transparent becomes black."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "black"), rgba).convert("RGB")
    return image.convert("RGB") if image.mode in ("P", "PA") else image


def _to_eight_bits(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Grey of 16 bits, uint8 (h, w); other deep grey has no fixed white that could be scaled to 255."""
    if pixels.dtype.kind == "f" or pixels.min() < 0 or pixels.max() > 65535:
        raise BadDataError(
            f"{path} has pixels outside of 16 bits ({pixels.min()} to {pixels.max()})", "use 8 or 16 bits"
        )
    return np.round(pixels.astype(np.float32) / 257).astype(np.uint8)
