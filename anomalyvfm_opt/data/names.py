"""Names of files and folders, which systems write in two Unicode forms.

A Mac writes the u with two dots as two characters (NFD), and a copy of its files keeps that; other systems write
one (NFC). They look the same, so two names that differ in their form alone are taken for the same name.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path


def to_form(name: str) -> str:
    """Return a name in the form (NFC) that names are compared in."""
    return unicodedata.normalize("NFC", name)


def is_same_name(one: str, other: str) -> bool:
    """Return whether two names are the same, in whatever form each is written."""
    return one == other or to_form(one) == to_form(other)


def find_name(name: str, known: Iterable[str]) -> str | None:
    """Return the one among known names that is this name, exactly or in another form; None if there is none."""
    names = list(known)
    if name in names:
        return name
    return next((one for one in names if is_same_name(one, name)), None)


def find_twins(names: Iterable[str]) -> list[str]:
    """Return, in the form that names are compared in, those that stand among names in both forms."""
    forms = Counter(map(to_form, set(names)))
    return sorted(form for form, count in forms.items() if count > 1)


def find_folder(parent: Path, name: str) -> Path:
    """Return the folder of a name in another one, in whatever form it is there; it need not be there."""
    folder = parent / name
    if name.isascii() or folder.is_dir() or not parent.is_dir():
        return folder
    found = find_name(name, (path.name for path in parent.iterdir() if path.is_dir()))
    return folder if found is None else parent / found
