"""What the layouts share: folders of good and of bad images, and of masks beside them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from unicodedata import category

from anomalyvfm_opt.data.entries import (
    find_unread,
    get_stem,
    is_broken_link,
    is_image,
    list_entries,
    list_images,
    list_subfolders,
)
from anomalyvfm_opt.data.masks import find_namesakes, find_shared, find_spare, pair
from anomalyvfm_opt.data.names import find_folder, find_name, to_form
from anomalyvfm_opt.data.records import BAD, GOOD, CategoryImages, ImageRecord
from anomalyvfm_opt.data.scenes import parse_name
from anomalyvfm_opt.files import is_utf8
from anomalyvfm_opt.spec.study_name import is_category_name

TRAIN, VALIDATION, TEST, TEST_PUBLIC = "train", "validation", "test", "test_public"
GROUND_TRUTH = "ground_truth"


@dataclass(frozen=True)
class Folders:
    """A layout: `train/good`, perhaps `validation/good`, and a test folder with `good` and with bad images.

    The archives of single categories sometimes unpack to `<category>/<category>/`; that is understood.

    Args:
        name: of the layout, for people.
        expected: what it looks like on disk, for messages.
        test: the folder of labelled images.
        masks: the folder of mask folders, which are named like those of the bad images.
        has_kinds: whether each folder beside `good` holds a kind of defect; else `bad` holds them all.
        is_own: whether the folder that holds the parts is laid out like this, and not like a layout after it.
        unlabelled: further folders, which nobody reads.
    """

    name: str
    expected: str
    test: str
    masks: str
    has_kinds: bool
    is_own: Callable[[Path], bool]
    unlabelled: tuple[str, ...] = ()

    def is_category(self, folder: Path) -> bool:
        """Return whether a folder holds any part of a category, complete or not."""
        base = unwrap(folder)
        return has_part(base) and self.is_own(base)

    def read(self, folder: Path) -> CategoryImages:
        """Return what is there; the parts that are not are empty."""
        base = unwrap(folder)
        bad = chain.from_iterable(self._read_bad(base, place) for place in self._list_bad(base))
        return CategoryImages(
            name=folder.name,
            train=_read_good(base, TRAIN),
            validation=_read_good(base, VALIDATION),
            test=_sort([*_read_good(base, self.test), *bad]),
        )

    def find_faults(self, images: CategoryImages) -> list[str]:
        """Why a category cannot be used; empty if it can."""
        labels = {record.label for record in images.test}
        missing = [] if images.train else [f"{TRAIN}/{GOOD}"]
        missing += [] if GOOD in labels else [f"{self.test}/{GOOD}"]
        missing += [] if BAD in labels else [f"{self.test}/{self._defect}"]
        return [
            *(f"{images.name} has no image in {place}" for place in missing),
            *_find_unspeakable(images),
            *find_shared(images.test),
        ]

    def find_warnings(self, folder: Path, images: CategoryImages) -> list[str]:
        """Return what is not read, and what is missing, of a category that can be used in spite of it."""
        base = unwrap(folder)
        bad = self._list_bad(base)
        warnings = self._find_lost(folder, base)
        for place in (base / TRAIN / GOOD, base / VALIDATION / GOOD, base / self.test / GOOD, *bad):
            warnings += find_unread(place)
        for place in bad:
            masks = find_folder(base / self.masks, place.name)
            warnings += find_unread(masks) + find_spare(list_images(place), list_images(masks))
        records = (*images.train, *images.validation, *images.test)
        if (base / self.masks).is_dir():
            unmarked = [record for record in images.test if record.label == BAD and record.mask is None]
            warnings += [f"{record.path} is bad and has no mask" for record in unmarked]
        return warnings + find_namesakes(records)

    @property
    def _defect(self) -> str:
        """The name of the folders of bad images, for people."""
        return "<defect>" if self.has_kinds else BAD

    def _list_bad(self, base: Path) -> list[Path]:
        """Return the folders of bad images, there or not."""
        if not self.has_kinds:
            return [base / self.test / BAD]
        return [path for path in list_subfolders(base / self.test) if path.name != GOOD]

    def _read_bad(self, base: Path, place: Path) -> list[ImageRecord]:
        images = list_images(place)
        masks = pair(images, list_images(find_folder(base / self.masks, place.name)))
        return [_describe(path, BAD, base, masks.get(path)) for path in images]

    def _find_lost(self, folder: Path, base: Path) -> list[str]:
        """Folders that nobody reads, and images that lie in none that is read."""
        places = f"{TRAIN}/{GOOD}, {VALIDATION}/{GOOD}, {self.test}/{GOOD} and {self.test}/{self._defect}"
        bad = {path.name for path in self._list_bad(base)}
        known = {
            base: {TRAIN, VALIDATION, self.test, self.masks.split("/")[0], *self.unlabelled},
            base / TRAIN: {GOOD},
            base / VALIDATION: {GOOD},
            base / self.test: {GOOD, *bad, *self.masks.split("/")[1:]},
            base / self.masks: bad,
        }
        if folder != base:
            known[folder] = {base.name}
        return [
            f"{path} is not read: images lie in {places}, their masks in {self.masks}/{self._defect}"
            for place, names in known.items()
            for path in list_entries(place)
            if (path.is_dir() and find_name(path.name, names) is None) or is_image(path) or is_broken_link(path)
        ]


def unwrap(folder: Path) -> Path:
    """Return the folder that holds the parts: the category's own, or one of the same name inside."""
    inner = find_folder(folder, folder.name)
    return inner if not has_part(folder) and has_part(inner) else folder


def has_part(folder: Path) -> bool:
    """Return whether a folder holds any part of a category."""
    return any((folder / part).is_dir() for part in (TRAIN, VALIDATION, TEST, TEST_PUBLIC))


def _find_unspeakable(images: CategoryImages) -> list[str]:
    """Return one line for each image, or for the category, whose name no database or no study can bear."""
    if not is_utf8(images.name):
        return [f"{images.name}: the category's name is not UTF-8: rename its folder"]
    if not is_category_name(images.name):
        return [f"{images.name}: a category's name is part of a study's, so it holds no '#': rename its folder"]
    if any(category(character) == "Cc" for character in images.name):
        return [f"{images.name!r}: a category's name holds a control character: rename its folder"]
    records = (*images.train, *images.validation, *images.test)
    return [f"{r.path}: its name is not UTF-8: rename it" for r in records if not is_utf8(r.key)]


def _read_good(base: Path, part: str) -> tuple[ImageRecord, ...]:
    return _sort(_describe(path, GOOD, base, None) for path in list_images(base / part / GOOD))


def _sort(records: Iterable[ImageRecord]) -> tuple[ImageRecord, ...]:
    return tuple(sorted(records, key=lambda record: record.key))


def _describe(path: Path, label: str, base: Path, mask: Path | None) -> ImageRecord:
    number, light = parse_name(get_stem(path))
    kind = to_form(path.parent.name)
    scene = number if number is None or kind == label else f"{kind}/{number}"
    return ImageRecord(path, f"{base.name}/{path.relative_to(base).as_posix()}", label, scene, light, mask)
