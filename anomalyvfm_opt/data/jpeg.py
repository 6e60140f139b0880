"""What the decoder of JPEG has to say of a file, which Pillow does not pass on.

There is no checksum in a JPEG file; but its decoder notices where it has more or fewer bytes than the pixels need.
libtiff uses the same decoder for JPEG within TIFF files, and passes on what it says. So a JPEG file is decoded
once more, as the only strip of a TIFF file, row by row; its pixels are dropped.
"""

import ctypes
import os
import struct
from typing import Any, BinaryIO

from anomalyvfm_opt.data.complaints import find_libraries, listening

_TOLD = ("Corrupt JPEG data", "Premature end of JPEG file")
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262  # tags of a TIFF file
_STARTS, _SAMPLES, _ROWS, _COUNTS, _SUBSAMPLING = 273, 277, 278, 279, 530
_COLOUR_MODE, _AS_RGB = 65538, 1
_JPEG, _SHORT, _LONG = 7, 3, 4
_PHOTOMETRICS = {1: 1, 3: 6, 4: 5}  # grey, YCbCr and CMYK, by the number of channels
_HEAD, _FIELD = struct.Struct("<2sHI"), struct.Struct("<HHII")
_FAILED = -1


def find_complaints(image: Any, file: BinaryIO) -> list[str]:
    """Return what the decoder says of the pixels of a JPEG file that Pillow has decoded.

    Nothing is known of forms that libtiff does not take, such as CMYK with halved channels.

    Args:
        image: as Pillow opened it.
        file: at any place.
    """
    libraries = find_libraries()
    if image.layers not in _PHOTOMETRICS or not libraries:
        return []
    file.seek(0)
    with listening() as complaints:
        _decode(ctypes.CDLL(min(libraries)), _wrap(file.read(), image), image.height)
    return [line for line in complaints if line.startswith(_TOLD)]


def _wrap(content: bytes, image: Any) -> bytes:
    """Return a TIFF file whose only strip is a JPEG file."""
    channels, (across, down) = image.layers, image.layer[0][1:3]
    fields = {
        _WIDTH: (_LONG, 1, image.width),
        _HEIGHT: (_LONG, 1, image.height),
        _BITS: (_SHORT, channels, 8),
        _COMPRESSION: (_SHORT, 1, _JPEG),
        _PHOTOMETRIC: (_SHORT, 1, _PHOTOMETRICS[channels]),
        _STARTS: (_LONG, 1, 0),
        _SAMPLES: (_SHORT, 1, channels),
        _ROWS: (_LONG, 1, image.height),
        _COUNTS: (_LONG, 1, len(content)),
        _SUBSAMPLING: (_SHORT, 2, across | down << 16),
    }
    bits_at = _HEAD.size + 2 + _FIELD.size * len(fields) + 4
    bits = struct.pack("<H", 8) * channels
    fields[_STARTS] = (_LONG, 1, bits_at + len(bits))
    if channels > 1:  # the bits of each channel do not fit into the field
        fields[_BITS] = (_SHORT, channels, bits_at)
    packed = b"".join(_FIELD.pack(tag, *field) for tag, field in fields.items())
    head = _HEAD.pack(b"II", 42, _HEAD.size) + struct.pack("<H", len(fields))
    return b"".join((head, packed, bytes(4), bits, content))


def _decode(library: ctypes.CDLL, content: bytes, rows: int) -> None:
    """Read the rows of a TIFF file one after the other, up to the first that cannot be read."""
    library.TIFFFdOpen.restype, library.TIFFScanlineSize.restype = ctypes.c_void_p, ctypes.c_ssize_t
    descriptor = os.memfd_create("jpeg")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    address = library.TIFFFdOpen(descriptor, b"jpeg", b"r")
    if not address:
        os.close(descriptor)
        return
    tiff = ctypes.c_void_p(address)
    try:
        library.TIFFSetField(tiff, _COLOUR_MODE, _AS_RGB)
        row = ctypes.create_string_buffer(library.TIFFScanlineSize(tiff))
        for number in range(rows):
            if library.TIFFReadScanline(tiff, row, number, 0) == _FAILED:
                return
    finally:
        library.TIFFClose(tiff)  # and the descriptor
