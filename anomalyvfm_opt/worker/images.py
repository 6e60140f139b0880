"""A study's images on this host: are they all there, and the same as when it was created?"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from anomalyvfm_opt.data.layout import ImageRecord, read_what_is_there
from anomalyvfm_opt.data.names import to_form
from anomalyvfm_opt.data.split import Split, content_hashes, mask_hashes
from anomalyvfm_opt.errors import BadDataError, EnvironmentMissingError
from anomalyvfm_opt.store.division import StoredImage
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.words import counted


def find_images(record: StudyRecord, stored: dict[str, StoredImage], root: Path) -> Split:
    """Return the study's division, as stored, on the files of this host.

    Locked images are looked for, and taken up, for a confirmation alone.

    Raises:
        EnvironmentMissingError: the folder, or images of it, are not there.
        BadDataError: images or masks differ from those that the study was created with.
    """
    images = read_what_is_there(root, record.category)
    here = {r.key: r for r in (*images.train, *images.validation, *images.test)}
    needed = {key: image for key, image in stored.items() if image.role != "locked" or record.kind == "confirm"}
    found = _find_keys(needed, here)
    missing = sorted(needed.keys() - found.keys())
    if missing:
        raise EnvironmentMissingError(
            f"{root} lacks {len(missing)} of the {counted(len(needed), 'image')} of {record.name},"
            f" first {missing[0]}",
            "point --data at the folder that the study was created with, or at a copy",
        )
    hashes = content_hashes([found[key] for key in needed])
    changed = sorted(key for key, image in needed.items() if hashes[key] != image.sha256)
    if changed:
        raise BadDataError(
            f"images of {record.name} in {root} are not those of the study: {len(changed)} of"
            f" {counted(len(needed), 'image')}, first {changed[0]}; this worker does not join",
            "restore them, or create a study under another name",
        )
    if record.masks_sha256 is not None:
        _check_masks(record, needed, found, root)

    def pick(role: str) -> tuple[ImageRecord, ...]:
        return tuple(found[key] for key in sorted(needed) if needed[key].role == role)

    return Split(record.lock, pick("fit"), pick("held_out"), pick("search"), pick("locked"))


def _find_keys(keys: Iterable[str], here: dict[str, ImageRecord]) -> dict[str, ImageRecord]:
    """Find images by the keys that the study has for them, also where their names here are in another form.

    Returns:
        Key -> image with that key, whatever its name here; those that are missing are left out.
    """
    by_form = {to_form(key): record for key, record in here.items()}
    found = {key: here.get(key) or by_form.get(to_form(key)) for key in keys}
    return {key: replace(record, key=key) for key, record in found.items() if record is not None}


def _check_masks(
    record: StudyRecord, needed: dict[str, StoredImage], found: dict[str, ImageRecord], root: Path
) -> None:
    hashes = mask_hashes([found[key] for key in needed])
    changed = sorted(key for key, image in needed.items() if hashes.get(key) != image.mask_sha256)
    if changed:
        mask = found[changed[0]].mask
        first = f"{changed[0]}, whose mask is {mask}" if mask is not None else f"{changed[0]}, which has none now"
        raise BadDataError(
            f"masks of {record.name} in {root} are not those of the study: of {counted(len(changed), 'image')},"
            f" first of {first}; this worker does not join",
            "restore them, or create a study under another name",
        )
