"""`submit` and `submission check`: maps of MVTec AD 2's private images, as its server takes them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anomalyvfm_opt.cli.groups import make_group
from anomalyvfm_opt.cli.model import choose_wanted
from anomalyvfm_opt.cli.options import (
    BatchOption,
    CacheOption,
    DatabaseOption,
    DeviceOption,
    JsonOption,
    WeightsOption,
)
from anomalyvfm_opt.cli.output import print_json, say
from anomalyvfm_opt.cli.studies import spell
from anomalyvfm_opt.cli.tables import print_table
from anomalyvfm_opt.signals import end_as_interrupted
from anomalyvfm_opt.words import counted

if TYPE_CHECKING:
    from anomalyvfm_opt.delivery.deliver import Order
    from anomalyvfm_opt.inference.submission.inspection import Inspected
    from anomalyvfm_opt.inference.submission.making import Written
    from anomalyvfm_opt.store.store import Store
    from anomalyvfm_opt.store.studies import StudyRecord

_SHOWN_FAULTS = 50

app = make_group("Submissions to MVTec AD 2's server.")


def submit(
    data: Annotated[
        Path,
        typer.Option(
            "--data", metavar="DIR", envvar="ANOMALYVFM_OPT_DATA", help="MVTec AD 2, with its private images."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="ROOT", help="A new folder; ROOT.tar.gz is made beside it.")
    ],
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="SPEC", callback=spell, help="A spec, by name or file, with a study of each category."
        ),
    ] = None,
    detectors: Annotated[
        Path | None,
        typer.Option(
            "--detectors", metavar="DIR", help="Instead of SPEC: a folder of exported ones, DIR/CATEGORY."
        ),
    ] = None,
    baseline: Annotated[bool, typer.Option("--baseline", help="The baseline of each study instead.")] = False,
    frozen: Annotated[bool, typer.Option("--frozen", help="The frozen network instead.")] = False,
    scorer: Annotated[
        str | None,
        typer.Option("--scorer", metavar="NAME", help="Whose maps to give; else that of each trial's value."),
    ] = None,
    false_positives: Annotated[
        float | None,
        typer.Option(
            "--false-positives",
            metavar="A",
            help="Most normal scenes (a share) that may have a marked pixel; else 0.05, or that of DIR.",
        ),
    ] = None,
    batch: BatchOption = 32,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    cache_gib: CacheOption = 64.0,
    db: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write maps of all private images, inspect them, and pack them as MVTec AD 2's server takes them.

    Of each category's study it takes what `model export` takes. An interrupted call leaves nothing.
    """
    from anomalyvfm_opt.errors import UsageError
    from anomalyvfm_opt.inference.submission.archive import name_archive
    from anomalyvfm_opt.inference.submission.images import find_private_images
    from anomalyvfm_opt.inference.submission.making import Tools, begun_submission, make_submission
    from anomalyvfm_opt.inference.thresholds import USUAL_SHARE, check_share

    if (spec is None) == (detectors is None):
        raise UsageError("give a spec or --detectors DIR, one of them")
    if detectors is not None and (baseline or frozen or scorer):
        raise UsageError("--baseline, --frozen and --scorer choose of a spec's studies, not of --detectors")
    wanted = choose_wanted(None, baseline, frozen)
    if false_positives is not None:
        check_share(false_positives)
    end_as_interrupted()
    with begun_submission(out) as part:
        if spec is not None:
            from anomalyvfm_opt.delivery.deliver import Order

            order = Order(
                folder=part / "detectors",
                wanted=wanted,
                scorer=scorer,
                false_positives=USUAL_SHARE if false_positives is None else false_positives,
                with_backbone=False,
                with_graph=False,
                weights=weights,
                device=device,
            )
            store, studies = _find_studies(spec, order, db)
            images = find_private_images(data)
            folders, weights = _deliver(store, studies, order, data, cache_gib)
        else:
            images = find_private_images(data)
            folders = {image.place.category: Path(detectors or "") / image.place.category for image in images}
        tools = Tools(weights=weights, device=device, batch=batch, false_positives=false_positives)
        written = make_submission(part, out, images, folders, tools, say)
    for category, one in written.items():
        say(f"{category}: {one.marked} of {counted(one.images, 'image')} with a marked pixel")
    maps = sum(one.images for one in written.values())
    say(f"{out} and {name_archive(out)}: {counted(maps, 'map')}, none with a fault")
    if as_json:
        print_json(_to_json(out, written))


@app.command()
def check(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder of a submission.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            envvar="ANOMALYVFM_OPT_DATA",
            help="MVTec AD 2, to compare sizes with; else a map is compared with its thresholded one.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Name every fault of a submission, and of its archive if there is one; exit 2 if there is any.

    Beside names, numbers and types, at which the official checker looks: NaN, infinite values, sizes, damaged
    files, and whether the archive is the folder.
    """
    from anomalyvfm_opt.errors import EXIT_USAGE
    from anomalyvfm_opt.inference.submission.images import find_private_images
    from anomalyvfm_opt.inference.submission.inspection import inspect_submission
    from anomalyvfm_opt.inference.submission.layout import list_places

    if data is None:
        found = inspect_submission(root, dict.fromkeys(list_places()))
    else:
        found = inspect_submission(root, {image.place: image.size_px for image in find_private_images(data)})
    if as_json:
        print_json(_describe(root, found))
    else:
        rows = [(*key, str(count), str(found.masks[key])) for key, count in found.maps.items()]
        print_table(str(root), ("category", "set", "maps", "thresholded"), rows, right=(2, 3))
    for fault in found.faults[:_SHOWN_FAULTS]:
        say(f"problem: {fault}")
    rest = len(found.faults) - _SHOWN_FAULTS
    if rest > 0:
        say(f"problem: and {rest} more, which --json shows")
    if not found.has_archive:
        say(f"note: there is no archive {root.absolute().name}.tar.gz beside it, which is what the server takes")
    if found.faults:
        say(f"{root}: {counted(len(found.faults), 'fault')}")
        raise typer.Exit(EXIT_USAGE)
    sizes = "not compared with the images'; give --data" if data is None else "those of the images"
    say(f"{root}: no fault; sizes are {sizes}")


def _find_studies(spec: str, order: "Order", db: str | None) -> "tuple[Store, list[StudyRecord]]":
    """Open the store, and return it with a study of each category that has a trial to deliver."""
    from anomalyvfm_opt.delivery.submit import match_studies
    from anomalyvfm_opt.inference.submission.layout import IMAGES
    from anomalyvfm_opt.store.selection import select_studies
    from anomalyvfm_opt.store.store import open_store

    store = open_store(db)
    return store, match_studies(store, select_studies(store.engine, [spec]), order, IMAGES)


def _deliver(
    store: "Store", studies: "list[StudyRecord]", order: "Order", data: Path, cache_gib: float
) -> tuple[dict[str, Path], Path | None]:
    """Deliver the detectors of studies; return their folders, and a file with the backbone's weights."""
    from anomalyvfm_opt.delivery.deliver import find_weights
    from anomalyvfm_opt.delivery.rebuild import Workplace
    from anomalyvfm_opt.delivery.submit import deliver_all
    from anomalyvfm_opt.model.device import choose_device

    place = Workplace.here(data, order.weights, choose_device(order.device), cache_gib)
    return deliver_all(store, studies, order, place, say), find_weights(studies[0], order)


def _to_json(root: Path, written: "dict[str, Written]") -> dict[str, Any]:
    from anomalyvfm_opt.inference.submission.archive import name_archive

    return {
        "schema": 1,
        "root": str(root),
        "archive": str(name_archive(root)),
        "categories": {
            category: {
                "study": one.card.provenance.get("study"),
                "trial": one.card.provenance.get("trial"),
                "chosen": one.card.provenance.get("chosen"),
                "scorer": one.card.scoring.scorer,
                "map_scorer": one.card.scoring.map_scorer,
                "pixel_threshold": one.thresholds.pixel,
                "false_positives": one.thresholds.false_positives,
                "held_out_scenes": one.thresholds.scenes,
                "map": {"zero": one.scale.zero, "unit": one.scale.unit},
                "images": one.images,
                "marked": one.marked,
            }
            for category, one in written.items()
        },
    }


def _describe(root: Path, found: "Inspected") -> dict[str, Any]:
    counts = [
        {"category": category, "set": set_name, "maps": count, "thresholded": found.masks[category, set_name]}
        for (category, set_name), count in found.maps.items()
    ]
    return {
        "schema": 1,
        "root": str(root),
        "counts": counts,
        "has_archive": found.has_archive,
        "faults": list(found.faults),
    }
