"""Everything that is wrong with a submission, also what the official checker does not look at."""

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.files import open_plain
from anomalyvfm_opt.inference.submission.archive import compare_archive, name_archive
from anomalyvfm_opt.inference.submission.layout import Place
from anomalyvfm_opt.inference.submission.png import find_png_fault
from anomalyvfm_opt.inference.submission.tiff import BROKEN, WrongMapError, read_map
from anomalyvfm_opt.words import counted

_MOST_THREADS = 8
_AT_ONCE = 64  # places that are looked at before the next ones are begun
_FILE, _FOLDER, _LINK = "file", "folder", "link"
_Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What an inspection found.

    Args:
        maps, masks: files that are as they have to be, by category and set.
        faults: a line each, which begins with the path in the submission.
        has_archive: whether there is an archive, which was compared then.
    """

    maps: Mapping[tuple[str, str], int]
    masks: Mapping[tuple[str, str], int]
    faults: tuple[str, ...]
    has_archive: bool


@dataclass(frozen=True)
class _Seen:
    """What is wrong with the two files of a place; None for nothing."""

    place: Place
    map_fault: str | None
    mask_fault: str | None


def inspect_submission(root: Path, wanted: Mapping[Place, _Size | None]) -> Inspected:
    """Look at every file of a submission, and at its archive if there is one.

    Args:
        root: the folder.
        wanted: the places of all images, with height and width of each; None where that is not known: a map and
            its thresholded one are compared with each other then.

    Raises:
        UsageError: no such folder.
        EnvironmentMissingError: it is not for us to read.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is no folder", "give the folder of a submission, with anomaly_images in it")
    own = root.absolute()
    with _explained(own):
        there, faults = _compare_names(own, wanted)
        seen = list(_look(own, wanted, there))
        archive = name_archive(own)
        has_archive = os.path.lexists(archive)
        differences = compare_archive(archive, own) if has_archive else []
    maps = {(place.category, place.set_name): 0 for place in wanted}
    masks = dict(maps)
    for one in seen:
        key = one.place.category, one.place.set_name
        maps[key] += one.map_fault is None and one.place.map_path in there
        masks[key] += one.mask_fault is None and one.place.mask_path in there
        faults += [fault for fault in (one.map_fault, one.mask_fault) if fault is not None]
    return Inspected(maps=maps, masks=masks, faults=(*faults, *differences), has_archive=has_archive)


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    """Say of what the disk refuses where it is."""
    try:
        yield
    except OSError as error:
        raise EnvironmentMissingError(f"cannot read {error.filename or root}: {error.strerror or error}") from None


def _compare_names(root: Path, places: Iterable[Place]) -> tuple[set[str], list[str]]:
    """Return the files that are wanted and there, and what is missing or too many."""
    files = {path for place in places for path in (place.map_path, place.mask_path)}
    folders = {parent.as_posix() for path in files for parent in PurePosixPath(path).parents} - {"."}
    found: dict[str, set[str]] = {_FOLDER: {"."}, _FILE: set(), _LINK: set()}
    faults = []
    for path, kind in _walk(root, folders):
        found[kind].add(path)
        if path not in (folders if kind == _FOLDER else files if kind == _FILE else ()):
            faults.append(f"{path}: {kind} that does not belong here")
    lost = {path for path in folders | files if _parent(path) in found[_FOLDER] & (folders | {"."})}
    lost -= found[_FOLDER] | found[_FILE] | found[_LINK]
    faults += [f"{path}: missing{', with all that is in it' if path in folders else ''}" for path in lost]
    return found[_FILE] & files, sorted(faults)


def _parent(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _walk(root: Path, known: set[str], below: str = "") -> Iterator[tuple[str, str]]:
    """List what is in a submission, by its path there, and of which kind; strange folders stay closed."""
    with os.scandir(root / below) as entries:
        found = sorted((entry.name, _name_kind(entry)) for entry in entries)
    for name, kind in found:
        path = f"{below}/{name}" if below else name
        yield path, kind
        if kind == _FOLDER and path in known:
            yield from _walk(root, known, path)


def _name_kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return _LINK
    return _FOLDER if entry.is_dir(follow_symlinks=False) else _FILE


def _look(root: Path, wanted: Mapping[Place, _Size | None], there: set[str]) -> Iterator[_Seen]:
    """Look at the files of each place, a few at once: maps are large."""

    def look(place: Place) -> _Seen:
        return _look_at_place(root, place, there, wanted[place])

    waiting = iter(wanted)
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        while chunk := list(islice(waiting, _AT_ONCE)):
            yield from pool.map(look, chunk)


def _look_at_place(root: Path, place: Place, there: set[str], size_px: _Size | None) -> _Seen:
    map_fault = mask_fault = None
    if place.map_path in there:
        try:
            size_px = _check_map(root / place.map_path, size_px)
        except WrongMapError as error:
            map_fault = f"{place.map_path}: {error}"
    if place.mask_path in there:
        try:
            _check_mask(root / place.mask_path, size_px)
        except WrongMapError as error:
            mask_fault = f"{place.mask_path}: {error}"
    return _Seen(place, map_fault, mask_fault)


def _check_map(path: Path, size_px: _Size | None) -> _Size:
    """See that a map is one, and return its height and width.

    Raises:
        WrongMapError: it is not.
    """
    half = read_map(path, size_px)
    is_finite = np.isfinite(half)
    if not is_finite.all():
        nan = int(np.isnan(half).sum())
        infinite = half.size - int(is_finite.sum()) - nan
        raise WrongMapError(f"has {counted(nan, 'value')} not a number, and {infinite} infinite")
    return half.shape[0], half.shape[1]


def _check_mask(path: Path, size_px: _Size | None) -> None:
    """See that a thresholded map is one.

    Raises:
        WrongMapError: it is not.
    """
    try:
        with open_plain(path) as file, Image.open(file, formats=["PNG"]) as image:
            if image.mode != "L":
                raise WrongMapError(f"has pixels of mode {image.mode}, wanted is one channel of 8 bits (L)")
            if size_px is not None and (image.height, image.width) != size_px:
                raise WrongMapError(f"is {image.width}x{image.height} px, its image {size_px[1]}x{size_px[0]} px")
            pixels = np.asarray(image)
        with open_plain(path) as file:
            if fault := find_png_fault(file):
                raise WrongMapError(fault if fault.startswith("has") else f"cannot be read: {fault}")
    except WrongMapError:
        raise
    except (*BROKEN, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no PNG file, or damaged"
        raise WrongMapError(f"cannot be read: {reason}") from None
    is_other = (pixels != 0) & (pixels != 255)
    if is_other.any():
        raise WrongMapError(f"has the value {pixels[is_other][0]}, wanted are 0 and 255 alone")
