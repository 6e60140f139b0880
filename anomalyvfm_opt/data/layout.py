"""From a folder on disk to the images of its categories, whatever the layout."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from anomalyvfm_opt.data.mvtec_ad import MVTEC_AD, PLAIN
from anomalyvfm_opt.data.mvtec_ad2 import MVTEC_AD2
from anomalyvfm_opt.data.names import find_name
from anomalyvfm_opt.data.records import BAD, GOOD, CategoryImages, ImageRecord
from anomalyvfm_opt.errors import BadDataError, EnvironmentMissingError, UsageError
from anomalyvfm_opt.files import is_utf8
from anomalyvfm_opt.words import ask_if_meant

__all__ = ["CategoryImages", "ImageRecord", "Layout", "find_layout", "list_categories", "read_category"]

_SHOWN_FAULTS = 3


class Layout(Protocol):
    """A way to lay out the images of a category."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def expected(self) -> str:
        """What it looks like on disk, for messages."""
        ...

    def is_category(self, folder: Path) -> bool:
        """Return whether a folder holds any part of a category in this layout, complete or not."""
        ...

    def read(self, folder: Path) -> CategoryImages:
        """Return the images that are there; the parts that are not are empty."""
        ...

    def find_faults(self, images: CategoryImages) -> list[str]:
        """Why a category cannot be used; empty if it can."""
        ...

    def find_warnings(self, folder: Path, images: CategoryImages) -> list[str]:
        """Return what is not read, and what is missing, of a category that can be used in spite of it."""
        ...


LAYOUTS: tuple[Layout, ...] = (MVTEC_AD2, MVTEC_AD, PLAIN)
"""A folder has the first that takes it; the last takes whatever is incomplete."""


def list_categories(root: Path) -> list[str]:
    """Return the categories in a folder, sorted; an incomplete one is among them, and an error when it is read.

    Raises:
        EnvironmentMissingError: the folder is not there, or cannot be read.
        BadDataError: it holds no category.
        UsageError: the folder is itself a category, or holds the folder of categories; or no database can keep
            its name.
    """
    if not is_utf8(str(root.absolute())):
        raise UsageError(f"the name of {root.absolute()} is not UTF-8", "rename the folder")
    folders = list_folders(root)
    names = [path.name for path in folders if find_layout(path) is not None]
    if names:
        return names
    if find_layout(root) is not None:
        raise UsageError(f"{root} is itself a category", f"give its parent folder: {root.absolute().parent}")
    for folder in filter(_is_readable, folders):
        if any(find_layout(path) is not None for path in list_folders(folder)):
            raise UsageError(f"no category in {root}, but in {folder}", f"give that folder: {folder.absolute()}")
    raise BadDataError(f"no category in {root}", f"expected {_describe_expected()}")


def read_category(root: Path, name: str) -> CategoryImages:
    """Return the images of one category.

    Args:
        root: folder of categories.
        name: of the category: its folder's name.

    Raises:
        EnvironmentMissingError: the folder is not there, or cannot be read.
        UsageError: the folder has no category, or no such one, or is itself a category.
        BadDataError: the category has no training images, or no good or no bad test images; or a name that
            cannot be kept; or two images that share a mask.
    """
    layout, images = _read(root, name)
    faults = layout.find_faults(images)
    if faults:
        rest = len(faults) - _SHOWN_FAULTS
        more = f"; and {rest} more, which `data check` shows" if rest > 0 else ""
        is_whole = images.train and {record.label for record in images.test} == {GOOD, BAD}
        raise BadDataError(
            "; ".join(faults[:_SHOWN_FAULTS]) + more, "" if is_whole else f"expected {layout.expected}"
        )
    return images


def read_what_is_there(root: Path, name: str) -> CategoryImages:
    """Return the images of one category, whatever is missing: for who knows what there has to be.

    Raises:
        EnvironmentMissingError: the folder is not there, or cannot be read.
        UsageError: the folder has no category, or no such one, or is itself a category.
    """
    return _read(root, name)[1]


def find_layout(folder: Path) -> Layout | None:
    """Find the layout of a category's folder; None if it is no category, or not ours to read (`lost+found`)."""
    if not _is_readable(folder):
        return None
    with explained(folder):
        return next((layout for layout in LAYOUTS if layout.is_category(folder)), None)


def list_folders(root: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, without hidden ones.

    Raises:
        EnvironmentMissingError: it is not there, or cannot be read.
    """
    with explained(root):
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn an error of the disk into one that names the folder and what is expected in it."""
    try:
        yield
    except OSError as error:
        raise EnvironmentMissingError(
            f"cannot read the data folder {folder}: {error.strerror}", f"expected {_describe_expected()}"
        ) from None


def _read(root: Path, name: str) -> tuple[Layout, CategoryImages]:
    known = list_categories(root)
    found = find_name(name, known)
    if found is None:
        raise UsageError(f"no category {name!r} in {root}", _suggest(name, known))
    folder = root / found
    layout = find_layout(folder)
    if layout is None:
        raise EnvironmentMissingError(f"{folder} has gone", "is the disk still mounted?")
    with explained(folder):
        return layout, layout.read(folder)


def _is_readable(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def _describe_expected() -> str:
    return "; or ".join(layout.expected for layout in LAYOUTS)


def _suggest(name: str, known: list[str]) -> str:
    return " ".join(filter(None, (ask_if_meant(name, known), f"there are {', '.join(known)}")))
