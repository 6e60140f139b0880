"""`model`: export a trained detector as a folder that stands alone, and check one."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from anomalyvfm_opt.cli.groups import make_group
from anomalyvfm_opt.cli.options import (
    CacheOption,
    DatabaseOption,
    DataOption,
    DeviceOption,
    JsonOption,
    WeightsOption,
)
from anomalyvfm_opt.cli.output import print_json, say
from anomalyvfm_opt.cli.studies import StudyArgument
from anomalyvfm_opt.words import counted

app = make_group("Trained detectors: folders that need neither database nor study.")
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a detector.")]


@app.command()
def export(
    study: StudyArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make; nothing may be there yet.")],
    trial: Annotated[
        int | None,
        typer.Option(
            "--trial", metavar="N", help="This trial; else the finalist of the last confirmation, else the best."
        ),
    ] = None,
    baseline: Annotated[bool, typer.Option("--baseline", help="The baseline instead.")] = False,
    frozen: Annotated[bool, typer.Option("--frozen", help="The frozen network instead.")] = False,
    scorer: Annotated[
        str | None,
        typer.Option("--scorer", metavar="NAME", help="Whose scores to give; else that of the trial's value."),
    ] = None,
    false_positives: Annotated[
        float,
        typer.Option(
            "--false-positives",
            metavar="A",
            help="Most normals (a share) that thresholds let pass for anomalous.",
        ),
    ] = 0.05,
    with_backbone: Annotated[
        bool, typer.Option("--with-backbone", help="Put the backbone's weights into the folder.")
    ] = False,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Put it in as an ONNX graph, too, after proving that as well.")
    ] = False,
    data: DataOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    cache_gib: CacheOption = 64.0,
    db: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a trial's detector as a folder, after proving that it gives the scores that the trial stored."""
    wanted = choose_wanted(trial, baseline, frozen)
    from anomalyvfm_opt.delivery.deliver import Order, deliver
    from anomalyvfm_opt.delivery.rebuild import Workplace
    from anomalyvfm_opt.inference.folder import GRAPH
    from anomalyvfm_opt.inference.guide import describe_thresholds
    from anomalyvfm_opt.inference.thresholds import check_share
    from anomalyvfm_opt.model.device import choose_device
    from anomalyvfm_opt.signals import end_as_interrupted
    from anomalyvfm_opt.store.selection import select_one
    from anomalyvfm_opt.store.store import open_store

    check_share(false_positives)
    end_as_interrupted()
    on = choose_device(device)
    store = open_store(db)
    order = Order(
        folder=folder,
        wanted=wanted,
        scorer=scorer,
        false_positives=false_positives,
        with_backbone=with_backbone,
        with_graph=onnx,
        weights=weights,
        device=str(on),
    )
    place = Workplace.here(data, weights, on, cache_gib)
    done = deliver(store, select_one(store.engine, study), order, place, say)
    if not done.agreement.is_same_device:
        say(f"the trial ran on {done.choice.record.device}, this is {done.card.device}: scores may differ by 1e-3")
    say(
        f"{folder}: the scores of {counted(done.agreement.images, 'image')} are those of the trial within"
        f" {done.agreement.difference:.1g}"
    )
    if done.card.onnx is not None:
        proof = done.card.onnx.proof
        say(
            f"{folder / GRAPH}: ONNX Runtime gives torch's scores within {proof['largest_difference']:.1g},"
            f" its maps within {proof['largest_difference_of_maps']:.1g}, and the trial's scores within"
            f" {proof['largest_difference_from_trial']:.1g}"
        )
    for line in describe_thresholds(done.card):
        say(line)
    say(f"next: anomalyvfm-opt predict {folder} IMAGES --out FOLDER --overlays")
    if as_json:
        print_json(done.card.to_json())


@app.command()
def check(
    folder: FolderArgument,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Check every file of a detector's folder, and that it gives here the scores that it gave when it was made.

    So does its ONNX graph, where ONNX Runtime is installed. No database is needed. Exit code 3 if scores differ.
    """
    from anomalyvfm_opt.errors import EnvironmentMissingError
    from anomalyvfm_opt.inference.folder import GRAPH
    from anomalyvfm_opt.inference.graph_proof import check_graph, has_runtime
    from anomalyvfm_opt.inference.guide import describe_thresholds
    from anomalyvfm_opt.inference.selftest import check_detector
    from anomalyvfm_opt.inference.standalone import StandaloneDetector
    from anomalyvfm_opt.model.device import name_device

    with StandaloneDetector(folder, weights=weights, device=device) as detector:
        found = check_detector(detector)
        card, here = detector.card, name_device(detector.device)
    graph = check_graph(folder, weights) if card.onnx is not None and has_runtime() else None
    if as_json:
        run = (
            None
            if graph is None
            else {"is_close": not graph.problem, "scores": vars(graph.scores), "maps": vars(graph.maps)}
        )
        print_json({"schema": 1, "is_close": found.is_close, "device": here, **vars(found), "onnx": run})
    if not found.is_close:
        raise EnvironmentMissingError(
            f"{folder} does not give here ({here}) what it gave where it was made ({card.device}):"
            f" {found.describe()}",
            "use the versions that detector.json names, or another device",
        )
    if graph is not None and graph.problem is not None:
        raise EnvironmentMissingError(
            f"{folder / GRAPH} does not give torch's scores and maps here: {graph.problem.describe()}",
            "use the versions of onnxruntime and torch that detector.json names",
        )
    other = "" if found.is_same_device else f"; it was made on {card.device}, threads: {card.threads}"
    say(f"{folder}: all files are whole, and {counted(found.images, 'image')} scored as before on {here}{other}")
    say(f"largest relative difference {found.difference:.1g}, and {found.allowed:g} is allowed")
    if graph is not None:
        say(
            f"{GRAPH}: ONNX Runtime gives torch's scores within {graph.scores.difference:.1g}, its maps within"
            f" {graph.maps.difference:.1g}"
        )
    elif card.onnx is not None:
        say(f"{GRAPH} is whole, and was not run: ONNX Runtime is not installed (pip install onnxruntime)")
    for line in describe_thresholds(card):
        say(line)


def choose_wanted(trial: int | None, baseline: bool, frozen: bool) -> int | Literal["baseline", "frozen"] | None:
    """Return which trial the options name; None where they leave it to the study.

    Raises:
        UsageError: they name different ones.
    """
    from anomalyvfm_opt.errors import UsageError

    given = [
        name
        for name, is_given in (("--trial", trial is not None), ("--baseline", baseline), ("--frozen", frozen))
        if is_given
    ]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} name different trials", "give one of them")
    return "baseline" if baseline else "frozen" if frozen else trial
