"""`data`: demo images, and a look at your own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.options import JsonOption
from anomalyvfm_opt.cli.output import print_json, say
from anomalyvfm_opt.cli.tables import print_table
from anomalyvfm_opt.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anomalyvfm_opt.data.check import CategoryReport, FolderReport

_CHECK_COLUMNS = ("category", "part", "images", "scenes", "lights", "masks", "sizes px", "modes")

app = typer.Typer(no_args_is_help=True, help="Folders of images: MVTec AD 2, MVTec AD, or plain.")


@app.command("demo")
def write_demo_data(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the crops and the defects.")] = 0,
) -> None:
    """Write demo categories, cut from real photographs, with defects and masks."""
    from anomalyvfm_opt.data.demo import write_demo

    names = write_demo(folder, seed=seed)
    say(f"{folder}: {', '.join(names)}")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of categories.")],
    as_json: JsonOption = False,
) -> None:
    """Count the images of every category, name every file that is wrong; exit 2 if a category cannot be used."""
    from anomalyvfm_opt.data.check import check_folder
    from anomalyvfm_opt.errors import EXIT_USAGE

    report = check_folder(folder)
    if as_json:
        print_json(_to_json(report))
    else:
        rows = [row for category in report.categories for row in _describe(category)]
        print_table(str(report.root), _CHECK_COLUMNS, rows, right=(2, 3, 4, 5))
    _say_what_was_found(report)
    if not all(category.is_usable for category in report.categories):
        raise typer.Exit(EXIT_USAGE)


@app.command()
def split(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of categories.")],
    category: Annotated[str, typer.Argument(metavar="CATEGORY")],
    lock: Annotated[str, typer.Option("--lock", help="all or half, as a spec says.")] = "half",
    as_json: JsonOption = False,
) -> None:
    """Show how a category's images are divided: to train on, held out, to search on, locked."""
    from anomalyvfm_opt.data.layout import read_category
    from anomalyvfm_opt.data.split import content_hashes, divide, split_hash

    parts = divide(read_category(folder, category), lock)
    roles = parts.roles
    hashes = content_hashes([record for records in roles.values() for record in records])
    if as_json:
        keys = {role: [record.key for record in records] for role, records in roles.items()}
        print_json({"schema": 1, "category": category, "lock": lock, "hash": split_hash(parts, hashes), **keys})
        return
    rows = []
    for role, records in roles.items():
        for label in ("good", "bad"):
            chosen = [record for record in records if record.label == label]
            if chosen:
                rows.append((role, label, str(len(chosen)), str(len({r.scene_id for r in chosen}))))
    print_table(f"{category}, lock: {lock}", ("role", "label", "images", "scenes"), rows, right=(2, 3))
    say(f"hash {split_hash(parts, hashes)}")


def _to_json(report: "FolderReport") -> dict[str, object]:
    from dataclasses import asdict

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


def _say_what_was_found(report: "FolderReport") -> None:
    """Say notes first, then warnings; what keeps a category from use comes last, where it is seen."""
    for name in report.ignored:
        say(f"note: {report.root / name} is no category: it has no train, validation, test or test_public folder")
    for category in report.categories:
        for note in (*_describe_lights(category), *category.information):
            say(f"note: {note}")
    for warning in (*report.warnings, *(line for category in report.categories for line in category.warnings)):
        say(f"warning: {warning}")
    for problem in (line for category in report.categories for line in category.errors):
        say(f"problem: {problem}")
    unusable = [category.name for category in report.categories if not category.is_usable]
    if unusable:
        say(
            f"{len(unusable)} of {counted(len(report.categories), 'category')} cannot be used:"
            f" {', '.join(unusable)}"
        )


def _describe_lights(category: "CategoryReport") -> "Iterator[str]":
    """Return one line with the images of each light, if there are several."""
    from collections import Counter

    lights: Counter[str] = Counter()
    for part in category.parts:
        lights.update(part.lights)
    if len(lights) > 1:
        counts = ", ".join(f"{light or '(none)'} {count}" for light, count in sorted(lights.items()))
        yield f"{category.name} has images under several lights: {counts}"


def _describe(category: "CategoryReport") -> "Iterator[tuple[str, ...]]":
    """Return rows of the check table: one a part; what holds for the whole category stands in the last columns."""
    sizes = ["-"]
    if category.smallest_px and category.largest_px:
        ends = (f"{w}x{h}" for w, h in (category.smallest_px, category.largest_px))
        sizes = [("" if i == 0 else "to ") + size for i, size in enumerate(dict.fromkeys(ends))]
    modes = [f"{mode} {count}" for mode, count in category.modes.items()]
    if not category.parts:
        yield (category.name, "-", "0", "0", "0", "0", "-", "-")
    for index, part in enumerate(category.parts):
        name = (category.name, category.layout or "", "", "")[index]
        place = f"test {part.label}" if part.part == "test" else part.part
        lights = sum(light != "" for light in part.lights)
        masks = str(category.masks) if part.label == "bad" else ""
        size = sizes[index] if index < len(sizes) else ""
        mode = ", ".join(modes[index:] if index == len(category.parts) - 1 else modes[index : index + 1])
        yield (name, place, str(part.images), str(part.scenes), str(lights), masks, size, mode)
