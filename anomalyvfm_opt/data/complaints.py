"""What libtiff has to say of a file while it decodes it.

It says so on stderr, and goes on with what it made of the damage; Pillow hears nothing of it. So functions of ours
are put in the place of the two that print, in the copy of the library that Pillow uses. Where that is not to be
found, as in a Pillow that is linked otherwise, libtiff prints as before.
"""

import ctypes
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_LONGEST = 500
_METADATA = ("TIFFReadDirectory", "TIFFReadCustomDirectory", "TIFFReadDirEntry", "TIFFFetch")
"""How the functions of libtiff begin that read tags, where cameras have many that it does not know."""
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_libc = ctypes.CDLL(None)
_log = logging.getLogger(__name__)
_heard = threading.local()


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect what libtiff says of pixels in this thread for the length of a `with`, a line each."""
    _take_over()
    lines: list[str] = []
    _heard.lines = lines
    try:
        yield lines
    finally:
        _heard.lines = None


@cache
def _take_over() -> Any:
    """Put our handler in the place of libtiff's two, once; it is returned to be kept."""
    handler = _HANDLER(_hear)
    for path in _find_libraries():
        library = ctypes.CDLL(path)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            setter = getattr(library, name)
            setter.restype = ctypes.c_void_p
            setter(handler)
    return handler


def _find_libraries() -> set[str]:
    """Return the files of libtiff that are loaded in this process."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # another system than Linux
        return set()
    paths = {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "/libtiff" in line}
    return {path for path in paths if Path(path).is_file()}


def _hear(module: bytes | None, form: bytes, arguments: int) -> None:
    """Take what libtiff would print: a function's name, and a form of C with its arguments."""
    buffer = ctypes.create_string_buffer(_LONGEST)
    _libc.vsnprintf(buffer, ctypes.c_size_t(_LONGEST), form, ctypes.c_void_p(arguments))
    place, said = (module or b"").decode("utf-8", "replace"), buffer.value.decode("utf-8", "replace")
    lines = getattr(_heard, "lines", None)
    if lines is None:
        _log.warning("libtiff: %s: %s", place, said)
    elif not place.startswith(_METADATA):
        lines.append(said)
