"""Damage among the pixels of a file that its decoder reads past without a word.

A PNG file has checksums that Pillow does not compare, and the zlib streams in a TIFF file have some that are not
reached where damage made a stream longer. A JPEG file has none.
"""

import struct
import zlib
from typing import Any, BinaryIO

from PIL import Image

from anomalyvfm_opt.data.metadata import find_wrong_checksum

BROKEN = (OSError, SyntaxError, TypeError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow's decoders raise on files that are cut off or damaged."""
_COMPRESSION, _STARTS, _COUNTS, _TILE_STARTS, _TILE_COUNTS = 259, 273, 279, 324, 325  # tags of a TIFF file
_DEFLATED = (8, 32946)
_MOST_BYTES_A_PIXEL = 64
_CHUNK = 2**20


def find_damage(image: Image.Image, file: BinaryIO) -> str | None:
    """Return what is wrong with the pixels of a file; None if nothing is known to be.

    Args:
        image: its first page, which Pillow decoded.
        file: at any place.
    """
    if image.format == "PNG":
        return find_wrong_checksum(file)
    if image.format == "TIFF":
        return _find_damage_of_strips(image, file)
    return None


def _find_damage_of_strips(image: Any, file: BinaryIO) -> str | None:
    tags = image.tag_v2
    if tags.get(_COMPRESSION) not in _DEFLATED:
        return None
    is_tiled = _TILE_STARTS in tags
    starts, counts = (tags[tag] for tag in ((_TILE_STARTS, _TILE_COUNTS) if is_tiled else (_STARTS, _COUNTS)))
    most_bytes = image.width * image.height * _MOST_BYTES_A_PIXEL + _CHUNK
    for start, count in zip(starts, counts, strict=False):
        file.seek(start)
        if not _is_whole(file.read(count), most_bytes):
            return "a checksum of its strips does not fit"
    return None


def _is_whole(content: bytes, most_bytes: int) -> bool:
    """Return whether a zlib stream ends with the checksum of what it holds, after at most so many bytes."""
    stream = zlib.decompressobj()
    held = 0
    try:
        while not stream.eof and held <= most_bytes:
            got = stream.decompress(content, _CHUNK)
            content = stream.unconsumed_tail
            held += len(got)
            if not (got or content):
                return stream.eof
    except zlib.error:
        return False
    return stream.eof
