"""Which files are meant by the names that `predict` is given."""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from anomalyvfm_opt.data.images import SUFFIXES
from anomalyvfm_opt.errors import UsageError

STDIN = "-"
TABLE = "scores.csv"  # of results, beside which their pictures lie
PICTURES = MAPS, OVERLAYS, MASKS = ("maps", "overlays", "masks")
_MAGIC = "*?["


@dataclass(frozen=True)
class Listed:
    """A file to look at.

    Args:
        path: of the file.
        name: what results are filed under: its path in the folder that was given, or its own name.
    """

    path: Path
    name: Path


def list_files(given: Iterable[str], lines: Iterable[bytes], results: Path | None = None) -> Iterator[Listed]:
    """List files one after the other: they may be more than fit into memory.

    Args:
        given: files, folders (all images below them, sorted), patterns such as `*.png`, or `-` for a list.
        lines: of that list, a path each; blank ones are passed over.
        results: folder that results are written to meanwhile: pictures in it are no images to look at, nor are
            those of earlier results.

    Raises:
        UsageError: an empty name; a folder, a pattern or a list without an image.
    """
    for name in given:
        if name == STDIN:
            stripped = (os.fsdecode(line).rstrip("\r\n") for line in lines)
            listed = (Listed(Path(line), Path(Path(line).name)) for line in stripped if line.strip())
            yield from _some(listed, "the list on stdin names no image", "a path a line")
            continue
        if not name:
            raise UsageError("an empty name is no image and no folder", "is a variable of the shell not set?")
        path = Path(name)
        if _is_folder(path):
            yield from _some(
                _walk(path, results), f"{name} holds no image", f"images end with {', '.join(SUFFIXES)}"
            )
        elif any(sign in name for sign in _MAGIC) and not os.path.lexists(name):
            fitting = sorted(glob.iglob(name, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
            found = (Listed(Path(one), Path(Path(one).name)) for one in fitting)
            yield from _some(found, f"no file fits {name!r}", "")
        else:
            yield Listed(path, Path(path.name))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False  # such as a name that is too long: whoever opens it says what is wrong


def _walk(folder: Path, results: Path | None) -> Iterator[Listed]:
    written = None if results is None else results.resolve()
    for place, folders, files in os.walk(folder, onerror=_refuse):
        if TABLE in files or Path(place).resolve() == written:
            folders[:] = [name for name in folders if name not in PICTURES]
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES):
                path = Path(place) / name
                yield Listed(path, path.relative_to(folder))


def _refuse(error: OSError) -> None:
    raise UsageError(f"cannot list {error.filename}: {error.strerror}") from None


def _some(listed: Iterator[Listed], message: str, hint: str) -> Iterator[Listed]:
    first = next(listed, None)
    if first is None:
        raise UsageError(message, hint)
    yield first
    yield from listed
