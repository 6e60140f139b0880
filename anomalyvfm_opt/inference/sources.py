"""Images from wherever a caller has them: files, arrays, Pillow's; as the frames that a detector sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from anomalyvfm_opt.data.decoded import place_image
from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry, fit_content
from anomalyvfm_opt.data.images import convert_image, read_image
from anomalyvfm_opt.errors import BadDataError, UsageError

Source: TypeAlias = Path | str | np.ndarray | Image.Image
"""An image: the path of a file, uint8 (h, w, 3) in RGB, or an image that was opened with Pillow."""


@dataclass(frozen=True, kw_only=True)
class Framed:
    """An image in its frame; the image itself, which may be large, is not kept.

    Args:
        name: of the image.
        pixels: of the frame, uint8 (h, w, 3).
        image_px: height and width of the image.
        content_px: that it takes in the frame.
        notes: what is odd about its file, such as further pages.
    """

    name: str
    pixels: np.ndarray
    image_px: tuple[int, int]
    content_px: tuple[int, int]
    notes: tuple[str, ...] = ()


def frame_source(source: Source, number: int, geometry: Geometry) -> Framed:
    """Open an image and bring it into a frame.

    Args:
        source: see `Source`.
        number: its place among the images that were given, from 0: the name of what has none.
        geometry: of the frame.

    Raises:
        BadDataError: it cannot be decoded, or not without loss, or is too thin.
        UsageError: it is none of the kinds above.
    """
    notes: list[str] = []
    name, image = _open(source, number, notes)
    image_px = image.height, image.width
    content_px = fit_content(geometry, image_px, name)
    pixels = np.empty((*geometry.frame_px, 3), np.uint8)
    place_image(image, geometry, pixels)
    return Framed(name=name, pixels=pixels, image_px=image_px, content_px=content_px, notes=tuple(notes))


def join_frames(framed: Sequence[Framed], geometry: Geometry) -> Frames:
    """Return some images, at least one, as one set of frames."""
    content_px = np.array([one.content_px for one in framed], dtype=np.int64)
    return Frames(np.stack([one.pixels for one in framed]), content_px, geometry)


def _open(source: Source, number: int, notes: list[str]) -> tuple[str, Image.Image]:
    """Return the name of an image, and the image as 8-bit RGB; `notes` take what is odd about its file."""
    if isinstance(source, str | Path):
        return str(source), read_image(_to_path(source), notes)
    name = f"image {number}"
    if isinstance(source, Image.Image):
        if 0 in source.size:
            raise BadDataError(f"{name} has no pixels: it is {source.width}x{source.height} px")
        return name, convert_image(source, name)
    if not isinstance(source, np.ndarray):
        raise UsageError(
            f"{name} is of type {type(source).__name__}", "give a path, an array uint8 (h, w, 3), or a PIL image"
        )
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or 0 in source.shape:
        raise UsageError(
            f"{name} is an array {source.dtype} {source.shape}",
            "give uint8 (h, w, 3), 0-255, in the order R, G, B",
        )
    return name, Image.fromarray(source)


def _to_path(source: Path | str) -> Path:
    if "\0" in str(source):
        raise UsageError(f"{str(source)!r} is no path: it holds a NUL")
    return Path(source)
