"""Looks at every image of a folder and lists everything that is wrong, instead of stopping at the first."""

import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from anomalyvfm_opt.data.entries import is_broken_link, is_image, list_entries
from anomalyvfm_opt.data.images import Form
from anomalyvfm_opt.data.inspection import inspect
from anomalyvfm_opt.data.layout import explained, find_layout, list_categories, list_folders
from anomalyvfm_opt.data.names import find_twins, to_form
from anomalyvfm_opt.data.records import BAD, GOOD, CategoryImages, ImageRecord
from anomalyvfm_opt.data.repetition import find_repeated
from anomalyvfm_opt.data.split import count_scenes, divide
from anomalyvfm_opt.errors import BadDataError, EnvironmentMissingError

_FAINT_PEAK = 2**14  # of 16 bits: what cameras of 12 or 14 bits write into files of 16


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
        layout: its name; None if the category has gone meanwhile.
        parts: train, validation, good test and bad test images.
        smallest_px: the least (width, height) of any image, each on its own; None if none can be read.
        largest_px: the greatest.
        modes: images by channel mode, in Pillow's words: `L` is grey, `RGB` colour, `I;16` grey of 16 bits.
        masks: bad images with a mask.
        errors: why no study can be made of it, one line each, naming a file or the category.
        warnings: what is wrong, and a study can be made in spite of it.
        information: what to know before a study is made.
    """

    name: str
    layout: str | None
    parts: tuple[PartReport, ...] = ()
    smallest_px: tuple[int, int] | None = None
    largest_px: tuple[int, int] | None = None
    modes: dict[str, int] = field(default_factory=dict)
    masks: int = 0
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    information: tuple[str, ...] = ()

    @property
    def problems(self) -> list[str]:
        """Errors and warnings."""
        return [*self.errors, *self.warnings]

    @property
    def is_usable(self) -> bool:
        """Whether a study can be made of it as it is."""
        return not self.errors


@dataclass(frozen=True)
class FolderReport:
    """What is in a data folder.

    Args:
        root: the folder.
        categories: sorted by name.
        ignored: folders in it that hold no part of a category.
        warnings: images and broken links that lie in it beside the categories.
    """

    root: Path
    categories: tuple[CategoryReport, ...]
    ignored: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """The problems of all categories, and those beside them."""
        return [*(problem for category in self.categories for problem in category.problems), *self.warnings]


def check_folder(root: Path) -> FolderReport:
    """Read every image and mask of every category.

    Raises:
        EnvironmentMissingError: the folder is not there, or cannot be read.
        BadDataError: it holds no category.
        UsageError: the folder is itself a category, or holds the folder of categories.
    """
    names = list_categories(root)
    ignored = tuple(path.name for path in list_folders(root) if path.name not in names)
    with explained(root):
        lost = [path for path in list_entries(root) if is_image(path) or is_broken_link(path)]
    warnings = tuple(f"{path} is not read: it lies in no category" for path in lost)
    twins = find_twins(names)
    reports = (_check_category(root / name) for name in names)
    return FolderReport(
        root,
        tuple(_name_twin(report) if to_form(report.name) in twins else report for report in reports),
        ignored,
        warnings,
    )


def _name_twin(report: CategoryReport) -> CategoryReport:
    twin = f"{report.name}: two folders have this name, in two Unicode forms (NFC and NFD): rename one"
    return replace(report, errors=(twin, *report.errors))


def _check_category(folder: Path) -> CategoryReport:
    layout = find_layout(folder)
    try:
        if layout is None:
            raise EnvironmentMissingError(f"{folder} has gone")
        with explained(folder):
            images = layout.read(folder)
            warnings = layout.find_warnings(folder, images)
    except EnvironmentMissingError as error:
        return CategoryReport(folder.name, layout.name if layout else None, errors=(str(error),))
    return _report(layout.name, images, layout.find_faults(images), warnings)


def _report(layout: str, images: CategoryImages, faults: list[str], warnings: list[str]) -> CategoryReport:
    records = (*images.train, *images.validation, *images.test)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        seen = list(pool.map(inspect, records))
    forms = [one.form for one in seen if one.form]
    errors = [*faults, *(line for one in seen for line in one.errors)]
    warnings = [
        *(line for one in seen for line in one.warnings),
        *_find_faint(images.name, forms),
        *find_repeated({record: one.form for record, one in zip(records, seen, strict=True)}, images),
        *warnings,
    ]
    information = []
    if not faults:
        try:
            information = _describe_locks(images)
        except BadDataError as error:
            errors.append(str(error))
    widths, heights = ([form.size_px[axis] for form in forms] for axis in (0, 1))
    return CategoryReport(
        name=images.name,
        layout=layout,
        parts=_describe_parts(images),
        smallest_px=(min(widths), min(heights)) if forms else None,
        largest_px=(max(widths), max(heights)) if forms else None,
        modes=dict(sorted(Counter(form.mode for form in forms).items())),
        masks=sum(record.mask is not None for record in images.test),
        errors=tuple(errors),
        warnings=tuple(warnings),
        information=tuple(information),
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


def _describe_locks(images: CategoryImages) -> list[str]:
    """Return which ways to lock are open.

    Raises:
        BadDataError: none is: there are too few images to divide.
    """
    divide(images, "all")
    try:
        divide(images, "half")
    except BadDataError as error:
        return [str(error)]
    good, bad = (count_scenes(images.test, label) for label in (GOOD, BAD))
    return [f"{images.name} has {good} good and {bad} bad scenes: lock: half is possible"]


def _find_faint(category: str, forms: Iterable[Form]) -> list[str]:
    """Return whether images of 16 bits use so little of them that 8 bits show almost black."""
    peak = max((form.peak for form in forms if form.peak is not None), default=_FAINT_PEAK)
    if peak >= _FAINT_PEAK:
        return []
    return [f"{category}: 16-bit images reach {peak} of 65535, so they are read as almost black: rescale them"]
