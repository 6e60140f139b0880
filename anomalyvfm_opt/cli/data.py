"""`data`: demo images, and a look at your own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.options import JsonOption
from anomalyvfm_opt.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anomalyvfm_opt.data.check import CategoryReport

_CHECK_COLUMNS = ("category", "part", "images", "scenes", "lights", "sizes px", "modes", "masks")

app = typer.Typer(no_args_is_help=True, help="Image folders in the MVTec AD 2 layout.")


@app.command("demo")
def write_demo_data(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Other crops and other defects.")] = 0,
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
    """Count the images of every category and name every file that cannot be used; exit 2 if there is one."""
    from dataclasses import asdict

    from anomalyvfm_opt.data.check import check_folder
    from anomalyvfm_opt.errors import EXIT_USAGE

    report = check_folder(folder)
    if as_json:
        usable = {category.name: category.is_usable for category in report.categories}
        categories = [{**asdict(c), "usable": usable[c.name]} for c in report.categories]
        print_json({"schema": 1, "folder": str(report.root), "categories": categories})
    else:
        rows = [row for category in report.categories for row in _describe(category)]
        print_table(str(report.root), _CHECK_COLUMNS, rows, right=(2, 3))
    for problem in report.problems:
        say(f"problem: {problem}")
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


def _describe(category: "CategoryReport") -> "Iterator[tuple[str, ...]]":
    """Rows of the check table: one a part; what holds for the whole category stands in its first row."""
    sizes = "-"
    if category.smallest_px and category.largest_px:
        sizes = " - ".join(dict.fromkeys(f"{w}x{h}" for w, h in (category.smallest_px, category.largest_px)))
    modes = ", ".join(f"{mode} {count}" for mode, count in category.modes.items())
    whole = (sizes, modes, str(category.masks))
    for index, part in enumerate(category.parts):
        lights = ", ".join(f"{light or '(none)'} {count}" for light, count in part.lights.items())
        name, shared = (category.name, whole) if index == 0 else ("", ("", "", ""))
        yield (name, f"{part.part} {part.label}", str(part.images), str(part.scenes), lights, *shared)
