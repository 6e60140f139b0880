"""What libtiff has to say of a file while it decodes it.

It says so on stderr, and goes on with what it made of the damage; Pillow hears nothing of it, and takes away what
would print warnings each time before it opens a file. So functions of ours are put in the place of the two that
print, in the copy of the library that Pillow uses: that of errors once, that of warnings whenever a file is opened
and libtiff asks what it is to know of tags. Where the library is not to be found, as in a Pillow that is linked
otherwise, it prints as before.
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
_DAMAGE = (
    "Corrupt JPEG data",
    "Premature end of JPEG file",
    "Premature EO",
    "Line length mismatch",
    "Discarding",
    "Bad code",
)
"""How warnings begin that tell of damage; others are of odd tags and of old ways to write."""
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_EXTENDER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
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
def _find_libraries() -> set[str]:
    """Return the files of libtiff that are loaded in this process."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # another system than Linux
        return set()
    paths = {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "/libtiff" in line}
    return {path for path in paths if Path(path).is_file()}


@cache
def _take_over() -> list[Any]:
    """Put our functions in the place of libtiff's, once; they are returned to be kept."""
    on_error, on_warning = _HANDLER(_hear_error), _HANDLER(_hear_warning)
    kept: list[Any] = [on_error, on_warning]
    for path in _find_libraries():
        library = ctypes.CDLL(path)
        for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler, library.TIFFSetTagExtender):
            setter.restype = ctypes.c_void_p
        library.TIFFSetErrorHandler(on_error)
        on_open = _EXTENDER(lambda _file, library=library: library.TIFFSetWarningHandler(on_warning))
        library.TIFFSetTagExtender(on_open)
        kept.append(on_open)
    return kept


def _hear_error(module: bytes | None, form: bytes, arguments: int) -> None:
    """Take an error that libtiff would print: a function's name, and a form of C with its arguments."""
    place, said = (module or b"").decode("utf-8", "replace"), _form(form, arguments)
    lines = getattr(_heard, "lines", None)
    if lines is None:
        _log.warning("libtiff: %s: %s", place, said)
    elif not place.startswith(_METADATA):
        lines.append(said)


def _hear_warning(_module: bytes | None, form: bytes, arguments: int) -> None:
    """Take a warning likewise, if it is one of damage; where nobody listens, nobody needs it."""
    lines, said = getattr(_heard, "lines", None), _form(form, arguments)
    if lines is not None and said.startswith(_DAMAGE):
        lines.append(said)


def _form(form: bytes, arguments: int) -> str:
    buffer = ctypes.create_string_buffer(_LONGEST)
    _libc.vsnprintf(buffer, ctypes.c_size_t(_LONGEST), form, ctypes.c_void_p(arguments))
    return buffer.value.decode("utf-8", "replace")
