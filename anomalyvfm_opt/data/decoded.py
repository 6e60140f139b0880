"""Images and masks of a category as arrays, decoded and resized once a host."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.images import read_image, read_mask
from anomalyvfm_opt.data.records import GOOD, ImageRecord
from anomalyvfm_opt.errors import BadDataError

_DECODER_VERSION = 1  # raise it with every change of what the functions below return


def load_images(store: ArrayStore, records: Sequence[ImageRecord], image_size_px: int) -> np.ndarray:
    """Decode images as RGB and resize them (bicubic, antialiased) to squares.

    Args:
        store: where the result is kept; a file that has changed since is decoded anew.
        records: n images.
        image_size_px: side of the squares.

    Returns:
        uint8 (n, image_size_px, image_size_px, 3), read-only.

    Raises:
        BadDataError: a file cannot be read; the message names it.
        EnvironmentMissingError: the store cannot be written to.
    """

    def fill(out: np.ndarray) -> None:
        _for_each(records, lambda i, record: np.copyto(out[i], _decode_image(record, image_size_px)))

    shape = (len(records), image_size_px, image_size_px, 3)
    return store.get(_make_key("images", records, image_size_px), fill, shape, np.uint8)


def load_masks(store: ArrayStore, records: Sequence[ImageRecord], image_size_px: int) -> np.ndarray:
    """Decode masks and resize them so that no defect vanishes: a pixel is 1 if any part of it is anomalous.

    Good images have zeros, and so have bad images without a mask: tell them apart by `has_mask`.

    Args:
        store: where the result is kept; a file that has changed since is decoded anew.
        records: n images.
        image_size_px: side of the squares.

    Returns:
        uint8 {0, 1} (n, image_size_px, image_size_px), read-only.

    Raises:
        BadDataError: a file cannot be read; the message names it.
        EnvironmentMissingError: the store cannot be written to.
    """

    def fill(out: np.ndarray) -> None:
        _for_each(records, lambda i, record: np.copyto(out[i], _decode_mask(record, image_size_px)))

    shape = (len(records), image_size_px, image_size_px)
    return store.get(_make_key("masks", records, image_size_px), fill, shape, np.uint8)


def has_mask(record: ImageRecord) -> bool:
    """Whether it is known which pixels of an image are anomalous: none of a good one's are."""
    return record.label == GOOD or record.mask is not None


def _for_each(records: Sequence[ImageRecord], work: Callable[[int, ImageRecord], None]) -> None:
    """Threads are enough: Pillow decodes and resizes without the interpreter's lock."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(work, range(len(records)), records):
            pass


def _decode_image(record: ImageRecord, image_size_px: int) -> np.ndarray:
    image = read_image(record.path)
    return np.asarray(image.resize((image_size_px, image_size_px), Image.Resampling.BICUBIC))


def _decode_mask(record: ImageRecord, image_size_px: int) -> np.ndarray:
    if record.mask is None:
        return np.zeros((image_size_px, image_size_px), np.uint8)
    # in floating point: in 8 bits, a single pixel's share of a large box would be rounded to 0
    shares = Image.fromarray(read_mask(record.mask).astype(np.float32))
    shares = shares.resize((image_size_px, image_size_px), Image.Resampling.BOX)
    return (np.asarray(shares) > 0).astype(np.uint8)


def _make_key(kind: str, records: Sequence[ImageRecord], image_size_px: int) -> str:
    """What the array depends on: which files, in which state, how large, decoded how."""
    files = [record.path if kind == "images" else record.mask for record in records]
    try:
        states = [(f, f.stat()) if f else None for f in files]
    except OSError as error:
        raise BadDataError(f"cannot read {error.filename}: {error.strerror}") from None
    rows = [[str(s[0].absolute()), s[1].st_size, s[1].st_mtime_ns] if s else None for s in states]
    return json.dumps([kind, _DECODER_VERSION, image_size_px, rows])
