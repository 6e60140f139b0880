"""`worker launch`: several workers at once, started again when they crash."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from anomalyvfm_opt.cli.fleet.ray import (
    AddressOption,
    CpusOption,
    DetachOption,
    ElasticOption,
    GpusOption,
    RayOptions,
    launch_on_ray,
)
from anomalyvfm_opt.cli.options import (
    CacheOption,
    DatabaseOption,
    DataOption,
    DeviceOption,
    DrainSecondsOption,
    GraceOption,
    HangOption,
    KeepRunningOption,
    OutageOption,
    StudyOption,
    WeightsOption,
)
from anomalyvfm_opt.cli.output import say


class Engine(StrEnum):
    """What places the workers."""

    LOCAL = "local"
    RAY = "ray"


def launch(
    context: typer.Context,
    engine: Annotated[Engine, typer.Option("--engine", help="What places the workers.")] = Engine.LOCAL,
    count: Annotated[
        int | None,
        typer.Option("--count", min=1, max=256, metavar="N", help="Workers; else one a GPU, or a single one."),
    ] = None,
    study: StudyOption = None,
    data: DataOption = None,
    keep_running: KeepRunningOption = False,
    weights: WeightsOption = None,
    cache_gib: CacheOption = 64.0,
    device: DeviceOption = "auto",
    grace_s: GraceOption = 60.0,
    hang_s: HangOption = 1800.0,
    drain_s: DrainSecondsOption = 30.0,
    outage_s: OutageOption = 900.0,
    address: AddressOption = "auto",
    gpus_per_worker: GpusOption = 1.0,
    cpus_per_worker: CpusOption = 1.0,
    detach: DetachOption = False,
    elastic: ElasticOption = False,
    db: DatabaseOption = None,
) -> None:
    """Run several workers on this host or a cluster until there is nothing to do; GPUs may be shared.

    A worker that crashes is started again, with a growing pause. Ctrl-C has all of them give their trials back. At
    the end stands what was retried, and why.
    """
    from anomalyvfm_opt.cli.fleet.run import run_fleet
    from anomalyvfm_opt.cli.fleet.slots import lay_out
    from anomalyvfm_opt.cli.selection import select_families
    from anomalyvfm_opt.cli.store import open_store
    from anomalyvfm_opt.launch.places import Needs

    if engine is Engine.LOCAL:
        _refuse_missing(data, weights)
    store = open_store(db)
    names = study or []
    if not select_families(store.engine, names) and not keep_running:
        say("no studies yet; create one: anomalyvfm-opt study create SPEC --data DIR")
        return
    if engine is Engine.RAY:
        options = RayOptions(address, Needs(gpus_per_worker, cpus_per_worker), count, detach, elastic)
        raise typer.Exit(launch_on_ray(context, store, lambda: select_families(store.engine, names), options))
    slots, arguments = lay_out(count, device)
    arguments += ["--cache-gib", str(cache_gib), "--grace-s", str(grace_s), "--hang-s", str(hang_s)]
    arguments += ["--drain-s", str(drain_s), "--outage-s", str(outage_s)]
    for name in names:
        arguments += ["--study", name]
    if db:
        arguments += ["--db", db]
    if data:
        arguments += ["--data", str(data)]
    if weights:
        arguments += ["--weights", str(weights)]
    if keep_running:
        arguments += ["--keep-running"]
    say(f"{len(slots)} workers by engine {engine}: {', '.join(slot.place for slot in slots)}")
    raise typer.Exit(run_fleet(store, lambda: select_families(store.engine, names), slots, arguments))


def _refuse_missing(data: Path | None, weights: Path | None) -> None:
    """What every worker would stumble over is said once, before any is started."""
    from anomalyvfm_opt.errors import EnvironmentMissingError

    if data is not None and not data.expanduser().is_dir():
        raise EnvironmentMissingError(f"--data: no folder {data}", "name the folder that holds the categories")
    if weights is not None and not weights.expanduser().is_file():
        raise EnvironmentMissingError(f"--weights: no file {weights}", "name a safetensors file")
