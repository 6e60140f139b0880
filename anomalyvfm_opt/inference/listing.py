"""Which files are meant by the names that `predict` is given."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from anomalyvfm_opt.data.entries import is_hidden_image
from anomalyvfm_opt.data.folders import GROUND_TRUTH
from anomalyvfm_opt.data.images import SUFFIXES
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.words import counted

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


@dataclass
class LeftOut:
    """Counts what lies in folders, has the name of an image, and is not looked at.

    Args:
        masks: files in folders `ground_truth`.
        hidden: files whose name begins with a dot, without those that a Mac writes beside each image.
    """

    masks: int = 0
    hidden: int = 0

    def add(self, other: "LeftOut") -> None:
        """Add what another one counted."""
        self.masks += other.masks
        self.hidden += other.hidden

    def describe(self) -> list[str]:
        """Return a line for each kind of which there are some."""
        lines = []
        if self.masks:
            lines.append(f"{counted(self.masks, 'file')} in folders {GROUND_TRUTH} left out: they are masks")
        if self.hidden:
            lines.append(f"{counted(self.hidden, 'hidden file')} left out")
        return lines


def list_files(
    given: Iterable[str], lines: Iterable[bytes], results: Path | None = None, left_out: LeftOut | None = None
) -> Iterator[Listed]:
    """List files one after the other: they may be more than fit into memory.

    Args:
        given: files, folders (all images below them, sorted), patterns such as `*.png`, or `-` for a list.
        lines: of that list, a path each; blank ones are passed over.
        results: folder that results are written to meanwhile: pictures in it are no images to look at, nor are
            those of earlier results.
        left_out: counts what is passed over in folders. What is named itself is looked at, also a mask.

    Raises:
        UsageError: an empty name; a folder, a pattern or a list without an image.
    """
    left_out = LeftOut() if left_out is None else left_out
    for name in given:
        if name == STDIN:
            stripped = (os.fsdecode(line).rstrip("\r\n") for line in lines)
            listed = (Listed(Path(line), Path(Path(line).name)) for line in stripped if line.strip())
            yield from _some(listed, "the list on stdin names no image", lambda: "a path a line")
            continue
        if not name:
            raise UsageError("an empty name is no image and no folder", "is a variable of the shell not set?")
        path = Path(name)
        if _is_folder(path):
            yield from _list_folder(path, results, left_out)
        elif any(sign in name for sign in _MAGIC) and not os.path.lexists(name):
            fitting = sorted(glob.iglob(name, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
            found = (Listed(Path(one), Path(Path(one).name)) for one in fitting)
            yield from _some(found, f"no file fits {name!r}", lambda: "")
        else:
            yield Listed(path, Path(path.name))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False  # such as a name that is too long: whoever opens it says what is wrong


def _list_folder(folder: Path, results: Path | None, left_out: LeftOut) -> Iterator[Listed]:
    own = LeftOut()
    yield from _some(
        _walk(folder, results, own),
        f"{folder} holds no image",
        lambda: "; ".join(own.describe()) or f"images end with {', '.join(SUFFIXES)}",
    )
    left_out.add(own)


def _walk(folder: Path, results: Path | None, left_out: LeftOut) -> Iterator[Listed]:
    """List the images below a folder, also behind links; a folder that two names lead to is listed once."""
    written = None if results is None else results.resolve()
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        passed_over = {GROUND_TRUTH}
        if TABLE in files or Path(place).resolve() == written:
            passed_over |= {*PICTURES}
        if GROUND_TRUTH in folders:
            left_out.masks += _count_images(Path(place) / GROUND_TRUTH)
        folders[:] = sorted(name for name in folders if name not in passed_over and not name.startswith("."))
        left_out.hidden += sum(map(is_hidden_image, files))
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                path = Path(place) / name
                yield Listed(path, path.relative_to(folder))


def _count_images(folder: Path) -> int:
    return sum(name.lower().endswith(SUFFIXES) for _, _, files in os.walk(folder) for name in files)


def _refuse(error: OSError) -> None:
    raise UsageError(f"cannot list {error.filename}: {error.strerror}") from None


def _some(listed: Iterator[Listed], message: str, find_hint: Callable[[], str]) -> Iterator[Listed]:
    first = next(listed, None)
    if first is None:
        raise UsageError(message, find_hint())
    yield first
    yield from listed
