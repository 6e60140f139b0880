"""What lies around the pixels of a PNG or JPEG file: checksums, and metadata that nobody needs to read them.

Pillow reads a file's metadata before its pixels, and refuses the file for a profile that is too large or a comment
that is damaged. Then a copy without it is read.
"""

import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""Of a PNG file: what pixels are made of."""
_EXIF_CHUNK, _EXIF_START = b"eXIf", b"Exif\0"
_EXIF, _ADOBE = 0xE1, 0xEE  # segments of a JPEG file: the orientation, and how colours are coded
_APPLICATIONS, _COMMENT, _SCAN = range(0xE0, 0xF0), 0xFE, 0xDA


def find_wrong_checksum(file: BinaryIO) -> str | None:
    """Find a chunk of a PNG file's pixels whose checksum does not fit, which Pillow does not compare.

    Args:
        file: a PNG file, at any place.

    Returns:
        What is wrong; None if nothing is, or if the file ends too soon, which its decoder finds.
    """
    file.seek(len(_PNG))
    for kind, data, checksum in _list_chunks(file.read()):
        if kind in _CHUNKS and zlib.crc32(kind + data).to_bytes(4, "big") != checksum:
            return f"the checksum of its {kind.decode()} does not fit"
    return None


def leave_out_metadata(file: BinaryIO) -> BytesIO | None:
    """Return a copy of a PNG or JPEG file that has its pixels and its orientation alone; None for other formats.

    Args:
        file: at any place.
    """
    file.seek(0)
    content = file.read()
    if content.startswith(_PNG):
        kept = [
            len(data).to_bytes(4, "big") + kind + data + checksum
            for kind, data, checksum in _list_chunks(content[len(_PNG) :])
            if kind in (*_CHUNKS, _EXIF_CHUNK)
        ]
        return BytesIO(_PNG + b"".join(kept))
    if content.startswith(_JPEG):
        return BytesIO(_JPEG + b"".join(_list_needed(content)))
    return None


def _list_chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield kind, content and checksum of each whole chunk of a PNG file, from behind its signature."""
    at = 0
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        if end + 4 > len(content):
            return
        yield content[at + 4 : at + 8], content[at + 8 : end], content[end : end + 4]
        at = end + 4


def _list_needed(content: bytes) -> Iterator[bytes]:
    """Yield the segments of a JPEG file that are needed, and what follows the head of its first scan as one."""
    at = len(_JPEG)
    while at + 4 <= len(content) and content[at] == 0xFF:
        kind = content[at + 1]
        if kind == _SCAN:
            break
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        is_orientation = kind == _EXIF and content[at + 4 :].startswith(_EXIF_START)
        if (kind not in _APPLICATIONS and kind != _COMMENT) or kind == _ADOBE or is_orientation:
            yield content[at:end]
        at = end
    yield content[at:]
