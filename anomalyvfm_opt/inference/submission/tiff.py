"""TIFF files of half precision, which Pillow can neither write nor read by itself."""

import io
import os
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, TiffImagePlugin

from anomalyvfm_opt.files import open_plain
from anomalyvfm_opt.words import counted

BROKEN = (OSError, SyntaxError, TypeError, ValueError, LookupError, EOFError, OverflowError, struct.error)
"""What Pillow raises on a file that is cut off or damaged."""
_WIDTH, _HEIGHT, _BITS, _COMPRESSION = 256, 257, 258, 259  # tags
_STRIPS, _SAMPLES, _STRIP_BYTES, _FORMAT = 273, 277, 279, 339
_FLOATING, _PLAIN = 3, 1
_KINDS = {1: "uint", 2: "int", _FLOATING: "float"}
_HEADER_BYTES, _TAG_BYTES, _VALUE_BYTES = 8, 12, 2
_BYTES_OF_KINDS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Of a value in a tag, by its kind."""
_MAGIC = {b"II*\0": "<", b"MM\0*": ">"}


class WrongMapError(ValueError):
    """A file that is no map as the server takes it; the message says why."""


def pack_map(half: np.ndarray) -> bytes:
    """Return a map as an uncompressed TIFF file.

    Args:
        half: float16 (h, w).
    """
    if half.dtype != np.float16 or half.ndim != 2:
        raise ValueError(f"a map of half precision is wanted, and this is {half.dtype} {half.shape}")
    buffer = io.BytesIO()
    same_bits = Image.fromarray(half.view(np.uint16))
    same_bits.save(buffer, format="TIFF", tiffinfo={_FORMAT: _FLOATING})
    return buffer.getvalue()


def read_map(path: Path, size_px: tuple[int, int] | None) -> np.ndarray:
    """Read a map.

    Args:
        path: of the file.
        size_px: height and width that it must have; None where any will do.

    Returns:
        float16 (h, w).

    Raises:
        WrongMapError: it is no TIFF file of one uncompressed page of float16 with one channel, or of another size.
    """
    try:
        with open_plain(path) as file:
            header = file.read(_HEADER_BYTES)
            order = _MAGIC.get(header[:4])
            if order is None:
                raise WrongMapError("is no TIFF file" if header else "is empty")
            tags = TiffImagePlugin.ImageFileDirectory_v2(header)
            start_of_tags = tags.next
            file.seek(start_of_tags)
            tags.load(file)
            if tags.next == start_of_tags:  # Pillow stops without a word where the file does
                raise WrongMapError("cannot be read: it is cut off or damaged")
            shape = _check_form(tags, size_px)
            size = os.fstat(file.fileno()).st_size
            if size < shape[0] * shape[1] * _VALUE_BYTES:  # before memory is taken
                raise WrongMapError("cannot be read: it is cut off or damaged")
            strips = list(zip(tags[_STRIPS], tags[_STRIP_BYTES], strict=True))
            ends = (_find_end_of_tags(file, start_of_tags, order), *(start + length for start, length in strips))
            if (behind := size - max(ends)) > 0:
                raise WrongMapError(f"has {counted(behind, 'byte')} behind its end")
            content = bytearray()
            for start, length in strips:
                file.seek(start)
                content += file.read(min(length, shape[0] * shape[1] * _VALUE_BYTES - len(content)))
    except WrongMapError:
        raise
    except BROKEN as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is cut off or damaged"
        raise WrongMapError(f"cannot be read: {reason}") from None
    if len(content) != shape[0] * shape[1] * _VALUE_BYTES:
        raise WrongMapError("cannot be read: it is cut off or damaged")
    return np.frombuffer(bytes(content), f"{order}f2").reshape(shape)


def _check_form(tags: Any, size_px: tuple[int, int] | None) -> tuple[int, int]:
    """Return height and width, once everything else is as it has to be."""
    if tags.next:
        raise WrongMapError("has several pages, wanted is one")
    samples = int(tags.get(_SAMPLES, 1))
    if samples != 1:
        raise WrongMapError(f"has {counted(samples, 'channel')}, wanted is one")
    kind = _KINDS.get(tags.get(_FORMAT, (1,))[0], "unknown")
    bits = tags.get(_BITS, (1,))[0]
    if (kind, bits) != ("float", 8 * _VALUE_BYTES):
        raise WrongMapError(f"is of type {kind}{bits}, wanted is float16")
    if tags.get(_COMPRESSION, _PLAIN) != _PLAIN or _STRIPS not in tags:
        raise WrongMapError("is compressed or tiled, wanted is a plain file")
    height, width = int(tags[_HEIGHT]), int(tags[_WIDTH])
    if size_px is not None and (height, width) != size_px:
        raise WrongMapError(f"is {width}x{height} px, its image {size_px[1]}x{size_px[0]} px")
    return height, width


def _find_end_of_tags(file: IO[bytes], start: int, order: str) -> int:
    """Return where the tags of a TIFF file end, with the values that do not fit into them.

    Args:
        file: of one page.
        start: of the tags.
        order: of bytes, `<` or `>`.
    """
    file.seek(start)
    number = int.from_bytes(file.read(2), "little" if order == "<" else "big")
    end: int = start + 2 + number * _TAG_BYTES + 4
    for _ in range(number):
        _tag, kind, values, place = struct.unpack(f"{order}HHII", file.read(_TAG_BYTES))
        length = values * _BYTES_OF_KINDS.get(kind, 0)
        end = max(end, place + length if length > 4 else 0)
    return end
