"""`data`: demo images, and a look at your own."""

from pathlib import Path
from typing import Annotated

import typer

from anomalyvfm_opt.cli.groups import make_group
from anomalyvfm_opt.cli.options import JsonOption
from anomalyvfm_opt.cli.output import print_json, say
from anomalyvfm_opt.cli.tables import print_grid

app = make_group("Folders of images: MVTec AD 2, MVTec AD, or plain.")


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
    from anomalyvfm_opt.report.data_text import check_to_json, describe_check, tabulate_check

    report = check_folder(folder)
    if as_json:
        print_json(check_to_json(report))
    else:
        print_grid(tabulate_check(report))
    for line in describe_check(report):
        say(line)
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
    from anomalyvfm_opt.report.data_text import tabulate_split

    parts = divide(read_category(folder, category), lock)
    roles = parts.roles
    hashes = content_hashes([record for records in roles.values() for record in records])
    if as_json:
        keys = {role: [record.key for record in records] for role, records in roles.items()}
        print_json({"schema": 1, "category": category, "lock": lock, "hash": split_hash(parts, hashes), **keys})
        return
    print_grid(tabulate_split(f"{category}, lock: {lock}", parts))
    say(f"hash {split_hash(parts, hashes)}")
