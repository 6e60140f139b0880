"""Divides a category's images: what to fit on, what to search on, and what stays locked."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalyvfm_opt.data.records import BAD, GOOD, CategoryImages, ImageRecord
from anomalyvfm_opt.errors import BadDataError, UsageError
from anomalyvfm_opt.files import open_plain
from anomalyvfm_opt.words import counted

LEAST_SCENES = 20  # per label, to divide them in two
_LEAST_HELD_OUT = 8

_Records = tuple[ImageRecord, ...]


@dataclass(frozen=True)
class Split:
    """The roles of a category's images; no image has two.

    Args:
        lock: `all` or `half`: which labelled images a search must not see.
        fit: normal images to train and to fit scorers on.
        held_out: normal images that no trial trains on.
        search: labelled images that trials are scored on; empty with `all`.
        locked: labelled images that only a confirmation reads.
    """

    lock: str
    fit: _Records
    held_out: _Records
    search: _Records
    locked: _Records

    @property
    def roles(self) -> dict[str, _Records]:
        """Role -> its images."""
        return {"fit": self.fit, "held_out": self.held_out, "search": self.search, "locked": self.locked}


def divide(images: CategoryImages, lock: str) -> Split:
    """Divide a category's images; the outcome depends on names alone, not on their order.

    With `half`, scenes of each label are sorted by a hash of (category, label, scene); the first half, rounded
    up, is for the search, the rest is locked. With `all`, every labelled image is locked. In both, the normal
    images held out are the category's validation images, or a fifth of its training images if it has none.

    Args:
        images: of one category.
        lock: `all` or `half`.

    Raises:
        BadDataError: too few scenes to divide, or too few normal images to hold any out.
        UsageError: another value of `lock`.
    """
    if lock not in ("all", "half"):
        raise UsageError(f"lock: {lock!r} is unknown", "use all or half")
    fit, held_out = (images.train, images.validation) if images.validation else _hold_out(images)
    search, locked = ((), images.test) if lock == "all" else _halve(images)
    return Split(lock, *(_sort(part) for part in (fit, held_out, search, locked)))


def content_hashes(records: Iterable[ImageRecord]) -> dict[str, str]:
    """Sha256 of each file's bytes, hexadecimal, by the image's key.

    Raises:
        BadDataError: a file cannot be read.
    """
    return {record.key: _hash_file(record.path) for record in records}


def mask_hashes(records: Iterable[ImageRecord]) -> dict[str, str]:
    """Sha256 of the bytes of each image's mask, hexadecimal, by the image's key; images without one are left out.

    Raises:
        BadDataError: a file cannot be read.
    """
    return {record.key: _hash_file(record.mask) for record in records if record.mask is not None}


def split_hash(split: Split, hashes: Mapping[str, str]) -> str:
    """Return what identifies a division: sha256 over each image's role, key, label, scene and content.

    Args:
        split: the division.
        hashes: content hashes by key, of all its images.

    Returns:
        64 hexadecimal digits, the same wherever the files lie and in whatever order they were listed.
    """
    rows = [
        [role, record.key, record.label, record.scene_id, hashes[record.key]]
        for role, records in split.roles.items()
        for record in records
    ]
    return hashlib.sha256(json.dumps(sorted(rows), separators=(",", ":")).encode()).hexdigest()


def masks_hash(hashes: Mapping[str, str]) -> str:
    """Return what identifies a division's masks: sha256 over (image key, content hash), whatever their order.

    Apart from `split_hash`, so that studies whose masks nobody hashed stay recognisable.

    Args:
        hashes: from `mask_hashes`, of all images.
    """
    return hashlib.sha256(json.dumps(sorted(hashes.items()), separators=(",", ":")).encode()).hexdigest()


def count_scenes(records: Iterable[ImageRecord], label: str) -> int:
    """Return how many scenes of a label there are."""
    return len({record.scene_id for record in records if record.label == label})


def _hash_file(path: Path) -> str:
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadDataError(f"cannot read {path}: {error.strerror}") from None


def _halve(images: CategoryImages) -> tuple[_Records, _Records]:
    counts = {label: count_scenes(images.test, label) for label in (GOOD, BAD)}
    if min(counts.values()) < LEAST_SCENES:
        raise BadDataError(
            f"{images.name} has {counts[GOOD]} good and {counted(counts[BAD], 'bad scene')};"
            f" lock: half needs at least {LEAST_SCENES} of each",
            "use lock: all",
        )
    chosen: set[str] = set()
    for label, count in counts.items():
        scenes = _sort_scenes(images.name, [record for record in images.test if record.label == label])
        chosen.update(scenes[: math.ceil(count / 2)])
    search = tuple(record for record in images.test if record.scene_id in chosen)
    return search, tuple(record for record in images.test if record.scene_id not in chosen)


def _hold_out(images: CategoryImages) -> tuple[_Records, _Records]:
    """Take whole scenes from the training images until a fifth, and at least 8 images, are held out."""
    wanted = max(_LEAST_HELD_OUT, math.ceil(len(images.train) / 5))
    held_out: list[ImageRecord] = []
    for scene in _sort_scenes(images.name, images.train):
        if len(held_out) >= wanted:
            break
        held_out += [record for record in images.train if record.scene_id == scene]
    chosen = {record.key for record in held_out}
    fit = tuple(record for record in images.train if record.key not in chosen)
    if not fit:
        raise BadDataError(
            f"{images.name} has {len(images.train)} training images and none for validation;"
            f" {wanted} have to be held out, which leaves none to train on",
            "add normal images to train or validation",
        )
    return fit, tuple(held_out)


def _sort_scenes(category: str, records: Sequence[ImageRecord]) -> list[str]:
    """Return the scenes of images in an order that is random and the same everywhere."""
    labels = {record.scene_id: record.label for record in records}
    return sorted(labels, key=lambda scene: _hash_scene(category, labels[scene], scene))


def _hash_scene(category: str, label: str, scene: str) -> str:
    return hashlib.sha256(json.dumps([category, label, scene]).encode()).hexdigest()


def _sort(records: Iterable[ImageRecord]) -> _Records:
    return tuple(sorted(records, key=lambda record: record.key))
