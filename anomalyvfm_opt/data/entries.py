"""What lies in one folder of images: what is read of it, and why the rest is not."""

from pathlib import Path

from anomalyvfm_opt.data.images import SUFFIXES
from anomalyvfm_opt.data.names import to_form
from anomalyvfm_opt.files import name_kind

_COPIED_BY_A_MAC = "._"  # it writes one such file beside each image that it copies to a foreign disk


def list_entries(folder: Path) -> list[Path]:
    """Return all but hidden entries, sorted; none if there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def list_subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones."""
    return [path for path in list_entries(folder) if path.is_dir()]


def list_images(folder: Path) -> list[Path]:
    """List the image files in a folder, sorted; a broken link is one, so that its file is missed."""
    return [path for path in list_entries(folder) if is_image(path)]


def is_image(path: Path) -> bool:
    """Return whether a path is that of an image file, by its name; nothing is opened."""
    return path.suffix.lower() in SUFFIXES and (path.is_file() or is_broken_link(path))


def is_broken_link(path: Path) -> bool:
    """Return whether a path is a link to nowhere, or to itself."""
    return path.is_symlink() and not (path.is_file() or path.is_dir())


def find_unread(folder: Path) -> list[str]:
    """Return one line for each entry of an image folder that is not read as an image, and why."""
    lines = [f"{path} is not read: {_explain(path)}" for path in list_entries(folder) if not is_image(path)]
    return lines + [f"{path} is not read: its name begins with a dot" for path in _list_hidden(folder)]


def get_stem(path: Path) -> str:
    """Return a file's name without its suffix, in the form (NFC) that names of other systems are compared in."""
    return to_form(path.stem)


def is_hidden_image(name: str) -> bool:
    """Return whether a name is of an image and begins with a dot, unless it is what a Mac writes beside one."""
    return name.startswith(".") and name.lower().endswith(SUFFIXES) and not name.startswith(_COPIED_BY_A_MAC)


def _list_hidden(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_hidden_image(path.name)) if folder.is_dir() else []


def _explain(path: Path) -> str:
    if is_broken_link(path):
        return "a broken link"
    if path.is_dir():
        return "a folder; images lie one level up"
    if not path.is_file():
        return name_kind(path.stat().st_mode) or "not a file"
    return "not a PNG, JPEG, BMP or TIFF file by its name"
