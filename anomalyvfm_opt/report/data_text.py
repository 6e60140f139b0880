"""What `data check` and `data split` show of a folder of images."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from anomalyvfm_opt.data.check import CategoryReport, FolderReport
from anomalyvfm_opt.data.records import BAD, GOOD
from anomalyvfm_opt.data.split import Split, count_scenes
from anomalyvfm_opt.report.grid import Grid
from anomalyvfm_opt.words import counted

_CHECK_COLUMNS = ("category", "part", "images", "scenes", "lights", "masks", "sizes px", "modes")


def tabulate_check(report: FolderReport) -> Grid:
    """Return a table of all categories, with a row for each of their parts."""
    rows = [row for category in report.categories for row in _list_rows(category)]
    return Grid(str(report.root), _CHECK_COLUMNS, rows, right=(2, 3, 4, 5))


def check_to_json(report: FolderReport) -> dict[str, object]:
    """Return the `data check --json` object (schema 1)."""
    categories = [
        {**asdict(c), "problems": c.problems, "is_usable": c.is_usable, "usable": c.is_usable}
        for c in report.categories
    ]
    return {
        "schema": 1,
        "folder": str(report.root),
        "categories": categories,
        "ignored": report.ignored,
        "warnings": report.warnings,
    }


def describe_check(report: FolderReport) -> Iterator[str]:
    """Yield notes first, then warnings; what keeps a category from use comes last, where it is seen."""
    for name in report.ignored:
        yield f"note: {report.root / name} is no category: it has no train, validation, test or test_public folder"
    for category in report.categories:
        for note in (*_describe_lights(category), *category.information):
            yield f"note: {note}"
    for warning in (*report.warnings, *(line for category in report.categories for line in category.warnings)):
        yield f"warning: {warning}"
    for problem in (line for category in report.categories for line in category.errors):
        yield f"problem: {problem}"
    unusable = [category.name for category in report.categories if not category.is_usable]
    if unusable:
        yield (
            f"{len(unusable)} of {counted(len(report.categories), 'category')} cannot be used:"
            f" {', '.join(unusable)}"
        )


def _describe_lights(category: CategoryReport) -> Iterator[str]:
    """Yield one line with the images of each light, if there are several."""
    lights: Counter[str] = Counter()
    for part in category.parts:
        lights.update(part.lights)
    if len(lights) > 1:
        counts = ", ".join(f"{light or '(none)'} {count}" for light, count in sorted(lights.items()))
        yield f"{category.name} has images under several lights: {counts}"


def _list_rows(category: CategoryReport) -> Iterator[tuple[str, ...]]:
    """Yield rows of the check table: one a part; what holds for the whole category stands in the last columns."""
    sizes = ["-"]
    if category.smallest_px and category.largest_px:
        ends = (f"{w}x{h}" for w, h in (category.smallest_px, category.largest_px))
        sizes = [("" if i == 0 else "to ") + size for i, size in enumerate(dict.fromkeys(ends))]
    modes = [f"{mode} {count}" for mode, count in category.modes.items()]
    if not category.parts:
        yield (category.name, "-", "0", "0", "0", "0", "-", "-")
    for index, part in enumerate(category.parts):
        layout = f"({category.layout})" if category.layout else ""
        name = (category.name, layout, "", "")[index]
        place = f"test {part.label}" if part.part == "test" else part.part
        lights = sum(light != "" for light in part.lights)
        masks = str(category.masks) if part.label == "bad" else ""
        size = sizes[index] if index < len(sizes) else ""
        mode = ", ".join(modes[index:] if index == len(category.parts) - 1 else modes[index : index + 1])
        yield (name, place, str(part.images), str(part.scenes), str(lights), masks, size, mode)


def tabulate_split(title: str, split: Split) -> Grid:
    """Return a table of a category's division: its images and scenes by role and label."""
    rows = []
    for role, records in split.roles.items():
        for label in (GOOD, BAD):
            images = sum(record.label == label for record in records)
            if images:
                rows.append((role, label, str(images), str(count_scenes(records, label))))
    return Grid(title, ("role", "label", "images", "scenes"), rows, right=(2, 3))
