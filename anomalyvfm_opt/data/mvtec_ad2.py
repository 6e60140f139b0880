"""The layout of MVTec AD 2: train/good, validation/good and test_public/{good,bad,ground_truth/bad}."""

from collections.abc import Iterable
from pathlib import Path

from anomalyvfm_opt.data.records import BAD, GOOD, CategoryImages, ImageRecord
from anomalyvfm_opt.data.scenes import parse_name

_TRAIN, _VALIDATION, _TEST = "train", "validation", "test_public"
_MASKS = f"{_TEST}/ground_truth/{BAD}"
_IMAGE_FOLDERS = (f"{_TRAIN}/{GOOD}", f"{_VALIDATION}/{GOOD}", f"{_TEST}/{GOOD}", f"{_TEST}/{BAD}")
_MASK_END = "_mask"


class MVTecAD2:
    """Reads PNG images named `NNN_<light>.png`, with masks named `<stem>_mask.png`; other files are no images.

    The archives of single categories sometimes unpack to `<category>/<category>/`; that is understood.
    """

    expected = (
        f"<category>/{_TRAIN}/{GOOD}, <category>/{_VALIDATION}/{GOOD}"
        f" and <category>/{_TEST}/{{{GOOD},{BAD},ground_truth/{BAD}}} with PNG files, as in MVTec AD 2"
    )

    def is_category(self, folder: Path) -> bool:
        """Whether a folder holds any part of a category, complete or not."""
        return any((_unwrap(folder) / part).is_dir() for part in (_TRAIN, _VALIDATION, _TEST))

    def read(self, folder: Path) -> CategoryImages:
        """What is there; the parts that are not are empty."""
        base = _unwrap(folder)
        masks = {path.stem: path for path in _list_images(base / _MASKS)}
        bad = (
            _describe(path, BAD, base, masks.get(path.stem + _MASK_END))
            for path in _list_images(base / _TEST / BAD)
        )
        return CategoryImages(
            name=folder.name,
            train=_read_good(base, _TRAIN),
            validation=_read_good(base, _VALIDATION),
            test=_sort([*_read_good(base, _TEST), *bad]),
        )

    def find_faults(self, images: CategoryImages) -> list[str]:
        """Why a category cannot be used; empty if it can."""
        labels = {record.label for record in images.test}
        faults = [] if images.train else [f"{images.name} has no PNG in {_TRAIN}/{GOOD}"]
        faults += [f"{images.name} has no PNG in {_TEST}/{label}" for label in (GOOD, BAD) if label not in labels]
        return faults

    def find_strays(self, folder: Path) -> list[str]:
        """What lies where images are expected and is not read: other formats, folders, masks of no image."""
        base = _unwrap(folder)
        problems = []
        for part in (*_IMAGE_FOLDERS, _MASKS):
            read = set(_list_images(base / part))
            others = [path for path in _list_entries(base / part) if path not in read]
            problems += [f"{path} is not read: not a PNG file" for path in others]
        owners = {path.stem + _MASK_END for path in _list_images(base / _TEST / BAD)}
        masks = _list_images(base / _MASKS)
        return problems + [f"{path} is the mask of no image" for path in masks if path.stem not in owners]


def _unwrap(folder: Path) -> Path:
    """The folder that holds the parts: the category's own, or one of the same name inside."""
    inner = folder / folder.name
    return folder if (folder / _TRAIN).is_dir() or not (inner / _TRAIN).is_dir() else inner


def _list_entries(folder: Path) -> list[Path]:
    """All but hidden entries, sorted; none if there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _list_images(folder: Path) -> list[Path]:
    return [path for path in _list_entries(folder) if path.suffix.lower() == ".png" and path.is_file()]


def _read_good(base: Path, part: str) -> tuple[ImageRecord, ...]:
    return _sort(_describe(path, GOOD, base, None) for path in _list_images(base / part / GOOD))


def _sort(records: Iterable[ImageRecord]) -> tuple[ImageRecord, ...]:
    return tuple(sorted(records, key=lambda record: record.key))


def _describe(path: Path, label: str, base: Path, mask: Path | None) -> ImageRecord:
    scene, light = parse_name(path.stem)
    return ImageRecord(path, f"{base.name}/{path.relative_to(base).as_posix()}", label, scene, light, mask)
