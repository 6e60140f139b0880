"""Whether a PNG file is whole: what decoders read past in silence, a server's may not."""

import struct
import zlib
from typing import IO

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">I4s")  # a chunk's length and type
_SUM = struct.Struct(">I")
_LARGEST = 2**26  # bytes of a chunk of a mask
_ODD = (
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"tRNS",
)  # further frames, transparency: readers differ in what they make of them


def find_png_fault(file: IO[bytes]) -> str | None:
    """Return what is wrong with the chunks of a PNG file of one image; None if nothing is.

    Args:
        file: from its beginning.
    """
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        return "no PNG file"
    kind = b""
    while kind != b"IEND":
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return "cut short: there is no end"
        length, kind = _HEAD.unpack(head)
        if kind in _ODD or length > _LARGEST:
            return f"has a chunk {kind.decode('latin-1')!r} that no thresholded map needs"
        content = file.read(length)
        given = file.read(_SUM.size)
        if len(content) < length or len(given) < _SUM.size:
            return "cut short"
        if _SUM.unpack(given)[0] != zlib.crc32(content, zlib.crc32(kind)):
            return f"damaged: the checksum of its {kind.decode('latin-1')} is another"
    return "has more behind its end" if file.read(1) else None
