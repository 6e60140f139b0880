"""A detector's folder: written whole or not at all, and read only if every file is what was written."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from anomalyvfm_opt.durable import PART_END, write_whole
from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.files import TooLargeError, open_plain, read_plain
from anomalyvfm_opt.inference.card import KIND, SCHEMA, Card, FileCard

CARD, HEADS, MEMORY, SELFTEST, GUIDE = (
    "detector.json",
    "heads.safetensors",
    "memory.safetensors",
    "selftest.npz",
    "README.md",
)
ADAPTER_CONFIG, ADAPTER_MODEL = "adapter/adapter_config.json", "adapter/adapter_model.safetensors"
BACKBONE, GRAPH = "backbone.safetensors", "detector.onnx"
AGAIN = "copy the folder again, or export it anew: anomalyvfm-opt model export"
_ALWAYS = (MEMORY, SELFTEST, GUIDE)
_ADAPTER = (ADAPTER_CONFIG, ADAPTER_MODEL)
_MAY_BE = (BACKBONE, GRAPH)
_LARGEST_CARD = 4 * 2**20
_MOST_MISTAKES = 3
_Result = TypeVar("_Result")


@contextmanager
def created_whole(folder: Path) -> Iterator[Path]:
    """Make a folder that takes its name when the `with` ends without an error; else nothing is there.

    Args:
        folder: its place, where nothing may be yet; its parent must be there.

    Raises:
        UsageError: something is there.
        EnvironmentMissingError: the disk refuses, or is full.
    """
    refuse_taken(folder)
    with made_aside(folder) as part:
        yield part
        refuse_taken(folder)
        with explained_write(folder):
            part.rename(folder)


@contextmanager
def made_aside(folder: Path) -> Iterator[Path]:
    """Make a folder under another name beside its place, and remove what is left of it when the `with` ends.

    A process that is killed leaves it; its name ends with `.part`.

    Args:
        folder: the place; its parent must be there.

    Raises:
        EnvironmentMissingError: the disk refuses, or is full.
    """
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{PART_END}")
    try:
        with explained_write(folder):
            part.mkdir()
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def refuse_taken(folder: Path) -> None:
    """See that a folder can be made under this name.

    Raises:
        UsageError: something of that name is there.
        EnvironmentMissingError: the folder that it is to be in is not there, or not for us to write to.
    """
    try:
        is_taken = os.path.lexists(folder)
        parent = folder.absolute().parent
        is_open = parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(folder)!r} cannot be a folder's name: {error}") from None
    if is_taken:
        raise UsageError(f"{folder} is there already", "give another name, or remove it")
    if not is_open:
        what = "cannot be written to" if parent.is_dir() else "is no folder"
        raise EnvironmentMissingError(f"cannot write {folder}: {parent} {what}", "make it, or give another place")


@contextmanager
def explained_write(folder: Path) -> Iterator[None]:
    """Say of what the disk refuses which folder it belongs to."""
    try:
        yield
    except OSError as error:
        raise EnvironmentMissingError(
            f"cannot write {folder}: {error.strerror or error}", "free space there, or give another place"
        ) from None


def write_files(folder: Path, contents: Mapping[str, bytes]) -> dict[str, FileCard]:
    """Write files into a folder that is being made, and return what the card says of them.

    Raises:
        EnvironmentMissingError: the disk refuses, or is full.
    """
    with explained_write(folder):
        for name, content in contents.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            write_whole(path, content)
    return {
        name: FileCard(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        for name, content in contents.items()
    }


def write_card(folder: Path, card: Card) -> None:
    """Write `detector.json`, the last of the files.

    Raises:
        EnvironmentMissingError: the disk refuses, or is full.
    """
    content = card.to_json()
    sealed = {**content, "sha256": _hash(content)}
    with explained_write(folder):
        write_whole(folder / CARD, (json.dumps(sealed, indent=1, sort_keys=True) + "\n").encode())


def read_card(folder: Path) -> Card:
    """Read `detector.json`, and see that every file which it names has the hash that it says.

    Raises:
        UsageError: no folder of a detector, one of a newer format, or one that was changed; it is named.
        EnvironmentMissingError: not for us to read.
    """
    content = _parse(folder, _read(folder, CARD, lambda path: read_plain(path, _LARGEST_CARD)))
    if content.get("kind") != KIND:
        raise UsageError(f"{folder / CARD} is not of a detector's folder", _find_out(folder))
    if content.get("schema") != SCHEMA:
        raise UsageError(
            f"{folder / CARD} has schema {str(content.get('schema'))[:20]}, this program reads {SCHEMA}",
            "use the version of the program that wrote it",
        )
    if content.pop("sha256", None) != _hash(content):
        raise UsageError(f"{folder / CARD} was changed: it does not have the hash that it was written with", AGAIN)
    try:
        card = Card.model_validate(content)
    except ValidationError as error:
        found = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:_MOST_MISTAKES]]
        raise UsageError(f"{folder / CARD} cannot be used: {'; '.join(found)}", AGAIN) from None
    _check_names(folder, card)
    for name, file in card.files.items():
        _check_file(folder, name, file)
    return card


def _check_names(folder: Path, card: Card) -> None:
    """See that the card names the files that there must be, and no others: so no path leads out of the folder."""
    needed = {*_ALWAYS}
    if card.adapter:
        needed |= {HEADS, *(_ADAPTER if card.adapter.settings.changes_network else ())}
    if lacking := sorted(needed - card.files.keys()):
        raise UsageError(f"{folder / CARD} does not name {', '.join(lacking)}", AGAIN)
    if strange := sorted(card.files.keys() - needed - {*_MAY_BE}):
        raise UsageError(f"{folder / CARD} names {strange[0]!r}, which is no file of such a detector", AGAIN)
    if (GRAPH in card.files) != (card.onnx is not None):
        raise UsageError(f"{folder / CARD} has only one of {GRAPH} and what it says of it", AGAIN)


def _check_file(folder: Path, name: str, wanted: FileCard) -> None:
    def measure(path: Path) -> tuple[str, int]:
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            return (
                ("", size)
                if size != wanted.size_bytes
                else (hashlib.file_digest(file, "sha256").hexdigest(), size)
            )

    sha256, size = _read(folder, name, measure)
    if size != wanted.size_bytes:
        raise UsageError(f"{folder / name} has {size:,} bytes, not {wanted.size_bytes:,} as written", AGAIN)
    if sha256 != wanted.sha256:
        raise UsageError(
            f"{folder / name} was changed: its sha256 is {sha256[:12]}..., not {wanted.sha256[:12]}...", AGAIN
        )


def read_file(folder: Path, name: str, card: Card) -> bytes:
    """Read a file of the folder as a whole, so that what is checked is what is used.

    Raises:
        UsageError: it is missing, or is not what was written.
        EnvironmentMissingError: not for us to read.
    """
    wanted = card.files[name]
    content = _read(folder, name, lambda path: read_plain(path, wanted.size_bytes))
    if hashlib.sha256(content).hexdigest() != wanted.sha256:
        raise UsageError(f"{folder / name} was changed while it was read", AGAIN)
    return content


def _read(folder: Path, name: str, read: Callable[[Path], _Result]) -> _Result:
    path = folder / name
    try:
        return read(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path} is missing", _find_out(folder) if name == CARD else AGAIN) from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not a file", AGAIN) from None
    except TooLargeError as error:
        raise UsageError(f"{path} is not what was written: {error.strerror}", AGAIN) from None
    except PermissionError as error:
        raise EnvironmentMissingError(f"cannot read {path}: {error.strerror}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {path}: {reason}", AGAIN) from None


def _parse(folder: Path, content: bytes) -> dict[str, Any]:
    found: Any = None
    with suppress(ValueError, RecursionError):
        found = json.loads(content)
    if not isinstance(found, dict):
        raise UsageError(f"{folder / CARD} is damaged: it is no JSON object", AGAIN)
    return found


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _find_out(folder: Path) -> str:
    """Return what to do where a folder is none of a detector."""
    if not folder.is_dir():
        return f"{folder} is no folder; give one that `anomalyvfm-opt model export` made"
    return "give a folder that `anomalyvfm-opt model export` made"
