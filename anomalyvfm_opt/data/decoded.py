"""Images and masks of a category as arrays, decoded and resized once a host."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry, measure_content
from anomalyvfm_opt.data.images import read_image, read_mask, read_size_px
from anomalyvfm_opt.data.records import GOOD, ImageRecord
from anomalyvfm_opt.errors import BadDataError

PADDING = (124, 116, 104)  # ImageNet's mean colour: about zero to most backbones
_DECODER_VERSION = 2  # raise it with every change of what the functions below return


def load_images(store: ArrayStore, records: Sequence[ImageRecord], geometry: Geometry) -> Frames:
    """Decode images as RGB and resize them (bicubic, antialiased) into frames.

    Args:
        store: where the result is kept; a file that has changed since (by size or time) is decoded anew.
        records: n images.
        geometry: of the frames.

    Returns:
        Read-only frames.

    Raises:
        BadDataError: a file cannot be read; the message names it.
        EnvironmentMissingError: the store cannot be written to.
    """

    def fill(out: np.ndarray) -> None:
        _for_each(records, lambda i, record: _decode_image(record, geometry, out[i]))

    shape = (len(records), *geometry.frame_px, 3)
    pixels = store.get(_make_key("images", records, geometry), fill, shape, np.uint8)
    return Frames(pixels, measure_content(geometry, [record.path for record in records]), geometry)


def describe_images(records: Sequence[ImageRecord], geometry: Geometry) -> str:
    """Return what decoded images depend on, for the keys of arrays that are made of them.

    Raises:
        BadDataError: a file has gone.
    """
    return _make_key("images", records, geometry)


def is_decoded(store: ArrayStore, records: Sequence[ImageRecord], geometry: Geometry) -> bool:
    """Return whether the store has these images already.

    Raises:
        BadDataError: a file has gone.
    """
    return store.holds(_make_key("images", records, geometry))


def load_masks(store: ArrayStore, records: Sequence[ImageRecord], geometry: Geometry) -> np.ndarray:
    """Decode masks and resize them so that no defect vanishes: a pixel is 1 if any part of it is anomalous.

    Good images have zeros, and so have bad images without a mask: tell them apart by `has_mask`.

    Args:
        store: where the result is kept; a file that has changed since (by size or time) is decoded anew.
        records: n images.
        geometry: of the frames.

    Returns:
        uint8 {0, 1} (n, h, w), read-only.

    Raises:
        BadDataError: a file cannot be read, or is not of its image's size; the message names it.
        EnvironmentMissingError: the store cannot be written to.
    """

    def fill(out: np.ndarray) -> None:
        _for_each(records, lambda i, record: _decode_mask(record, geometry, out[i]))

    shape = (len(records), *geometry.frame_px)
    return store.get(_make_key("masks", records, geometry), fill, shape, np.uint8)


def has_mask(record: ImageRecord) -> bool:
    """Return whether it is known which pixels of an image are anomalous: none of a good one's are."""
    return record.label == GOOD or record.mask is not None


def _for_each(records: Sequence[ImageRecord], work: Callable[[int, ImageRecord], None]) -> None:
    """Threads are enough: Pillow decodes and resizes without the interpreter's lock."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(work, range(len(records)), records):
            pass


def _decode_image(record: ImageRecord, geometry: Geometry, out: np.ndarray) -> None:
    place_image(read_image(record.path), geometry, out)


def place_image(image: Image.Image, geometry: Geometry, out: np.ndarray) -> None:
    """Resize an image (bicubic, antialiased) into a frame, with padding beside it.

    Args:
        image: 8-bit RGB.
        geometry: of the frame.
        out: the frame, uint8 (h, w, 3), which is filled.
    """
    height, width = geometry.fit((image.height, image.width))
    out[:height, :width] = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    out[height:] = PADDING
    out[:height, width:] = PADDING


def _decode_mask(record: ImageRecord, geometry: Geometry, out: np.ndarray) -> None:
    if record.mask is None:
        return
    mask = read_mask(record.mask)
    image_px = read_size_px(record.path)
    if mask.shape != image_px:
        raise BadDataError(
            f"{record.mask} is {mask.shape[1]}x{mask.shape[0]} px, its image {image_px[1]}x{image_px[0]} px",
            "is it the mask of another image? `anomalyvfm-opt data check` lists all such files",
        )
    height, width = geometry.fit(image_px)
    out[:height, :width] = shrink_mask(mask, (height, width))


def shrink_mask(mask: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """Return a mask (h, w) at another height and width, bool: a pixel is set if any part of it is anomalous."""
    # in floating point: in 8 bits, a single pixel's share of a large box would be rounded to 0
    height, width = size_px
    shares = Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
    shrunk: np.ndarray = np.asarray(shares) > 0
    return shrunk


def _make_key(kind: str, records: Sequence[ImageRecord], geometry: Geometry) -> str:
    """Return what the array depends on: which files, in which state, how large, decoded how."""
    files = [record.path if kind == "images" else record.mask for record in records]
    try:
        states = [(f, f.stat()) if f else None for f in files]
    except OSError as error:
        raise BadDataError(f"cannot read {error.filename}: {error.strerror}") from None
    rows = [[str(s[0].absolute()), s[1].st_size, s[1].st_mtime_ns] if s else None for s in states]
    return json.dumps([kind, _DECODER_VERSION, geometry.frame_px, geometry.keeps_aspect, rows])
