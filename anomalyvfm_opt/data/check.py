"""Looks at every image of a folder and lists everything that is wrong, instead of stopping at the first."""

import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from anomalyvfm_opt.data.images import read_form, read_mask
from anomalyvfm_opt.data.layout import explained, find_layout, list_categories, list_folders
from anomalyvfm_opt.data.records import BAD, GOOD, CategoryImages, ImageRecord
from anomalyvfm_opt.data.split import count_scenes
from anomalyvfm_opt.errors import BadDataError, EnvironmentMissingError


@dataclass(frozen=True)
class PartReport:
    """One part of a category: its images of one label.

    Args:
        part: `train`, `validation` or `test`.
        label: `good` or `bad`.
        images: how many.
        scenes: of how many physical samples.
        lights: images by light; the empty name is for those whose file name has none.
    """

    part: str
    label: str
    images: int
    scenes: int
    lights: dict[str, int]


@dataclass(frozen=True)
class CategoryReport:
    """What is in a category.

    Args:
        name: of the category.
        parts: train, validation, good test and bad test images.
        smallest_px: the least (width, height) of any image, each on its own; None if none can be read.
        largest_px: the greatest.
        modes: images by channel mode, in Pillow's words: `L` is grey, `RGB` colour, `I;16` grey of 16 bits.
        masks: bad images with a mask.
        problems: one line each, naming a file or the category.
        is_usable: whether a study can be made of it as it is; it can with some problems.
    """

    name: str
    parts: tuple[PartReport, ...]
    smallest_px: tuple[int, int] | None
    largest_px: tuple[int, int] | None
    modes: dict[str, int]
    masks: int
    problems: list[str]
    is_usable: bool


@dataclass(frozen=True)
class FolderReport:
    """What is in a data folder.

    Args:
        root: the folder.
        categories: sorted by name.
        ignored: folders in it that hold no part of a category.
    """

    root: Path
    categories: tuple[CategoryReport, ...]
    ignored: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """The problems of all categories."""
        return [problem for category in self.categories for problem in category.problems]


@dataclass(frozen=True)
class _Inspection:
    """One image: its form, if it can be read; what makes it unusable, and what is merely wrong."""

    size_px: tuple[int, int] | None
    mode: str | None
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def check_folder(root: Path) -> FolderReport:
    """Read every image and mask of every category.

    Raises:
        EnvironmentMissingError: the folder is not there, cannot be read, or holds no category.
        UsageError: the folder is itself a category.
    """
    names = list_categories(root)
    ignored = tuple(path.name for path in list_folders(root) if path.name not in names)
    return FolderReport(root, tuple(_check_category(root / name) for name in names), ignored)


def _check_category(folder: Path) -> CategoryReport:
    layout = find_layout(folder)
    try:
        if layout is None:
            raise EnvironmentMissingError(f"{folder} has gone")
        with explained(folder):
            images, strays = layout.read(folder), layout.find_strays(folder)
    except EnvironmentMissingError as error:
        return CategoryReport(folder.name, (), None, None, {}, 0, [error.message], is_usable=False)
    return _report(images, layout.find_faults(images), strays)


def _report(images: CategoryImages, faults: list[str], strays: list[str]) -> CategoryReport:
    records = (*images.train, *images.validation, *images.test)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        seen = list(pool.map(_inspect, records))
    errors = faults + [line for one in seen for line in one.errors]
    warnings = [line for one in seen for line in one.warnings] + strays
    sizes = [one.size_px for one in seen if one.size_px]
    return CategoryReport(
        name=images.name,
        parts=_describe_parts(images),
        smallest_px=(min(w for w, _ in sizes), min(h for _, h in sizes)) if sizes else None,
        largest_px=(max(w for w, _ in sizes), max(h for _, h in sizes)) if sizes else None,
        modes=dict(sorted(Counter(one.mode for one in seen if one.mode).items())),
        masks=sum(record.mask is not None for record in images.test),
        problems=errors + warnings,
        is_usable=not errors,
    )


def _describe_parts(images: CategoryImages) -> tuple[PartReport, ...]:
    parts = (
        ("train", GOOD, images.train),
        ("validation", GOOD, images.validation),
        ("test", GOOD, [record for record in images.test if record.label == GOOD]),
        ("test", BAD, [record for record in images.test if record.label == BAD]),
    )
    return tuple(
        PartReport(part, label, len(records), count_scenes(records, label), _count_lights(records))
        for part, label, records in parts
    )


def _count_lights(records: Iterable[ImageRecord]) -> dict[str, int]:
    return dict(sorted(Counter(record.light or "" for record in records).items()))


def _inspect(record: ImageRecord) -> _Inspection:
    try:
        size_px, mode = read_form(record.path)
    except BadDataError as error:
        return _Inspection(None, None, (error.message,), ())
    if record.label == GOOD:
        return _Inspection(size_px, mode, (), ())
    if record.mask is None:
        return _Inspection(size_px, mode, (), (f"{record.path} is bad and has no mask",))
    try:
        mask = read_mask(record.mask)
    except BadDataError as error:
        return _Inspection(size_px, mode, (error.message,), ())
    return _Inspection(
        size_px, mode, (), _compare(record.mask, (mask.shape[1], mask.shape[0]), bool(mask.any()), size_px)
    )


def _compare(path: Path, mask_px: tuple[int, int], is_marked: bool, image_px: tuple[int, int]) -> tuple[str, ...]:
    """What is wrong with a mask, given its image's size."""
    wrong = []
    if mask_px != image_px:
        wrong.append(f"{path} is {mask_px[0]}x{mask_px[1]} px, its image {image_px[0]}x{image_px[1]} px")
    if not is_marked:
        wrong.append(f"{path} marks no pixel")
    return tuple(wrong)
