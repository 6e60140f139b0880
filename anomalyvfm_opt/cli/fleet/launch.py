"""`worker launch`: several workers at once, started again when they crash."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from anomalyvfm_opt.cli.fleet.ray import AddressOption, CpusOption, ElasticOption, RayOptions, launch_on_ray
from anomalyvfm_opt.cli.fleet.slurm import PartitionOption, SbatchOption, TimeOption
from anomalyvfm_opt.cli.options import (
    ENGINES,
    CacheOption,
    DatabaseOption,
    DataOption,
    DeviceOption,
    DrainSecondsOption,
    GraceOption,
    HangOption,
    KeepRunningOption,
    MaxTrialsOption,
    OutageOption,
    ThreadsOption,
    WeightsOption,
)
from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.cli.studies import AnyStudiesArgument, StudyOption
from anomalyvfm_opt.files import expand_home
from anomalyvfm_opt.words import counted


class EngineName(StrEnum):
    """What places the workers."""

    LOCAL = "local"
    RAY = "ray"
    SLURM = "slurm"


# Options that not all engines have: they would change nothing, without a word.
_ENGINES_OF = {
    "gpus_per_worker": (EngineName.RAY, EngineName.SLURM),
    "detach": (EngineName.RAY, EngineName.SLURM),
    "address": (EngineName.RAY,),
    "cpus_per_worker": (EngineName.RAY,),
    "elastic": (EngineName.RAY,),
    "time_limit": (EngineName.SLURM,),
    "partition": (EngineName.SLURM,),
    "sbatch": (EngineName.SLURM,),
}


def launch(
    context: typer.Context,
    engine: Annotated[EngineName, typer.Option("--engine", help="What places the workers.")] = EngineName.LOCAL,
    count: Annotated[
        int | None,
        typer.Option("--count", min=1, max=256, metavar="N", help="Workers; else one a GPU, or a single one."),
    ] = None,
    studies: AnyStudiesArgument = None,
    study: StudyOption = None,
    data: DataOption = None,
    keep_running: KeepRunningOption = False,
    weights: WeightsOption = None,
    cache_gib: CacheOption = 64.0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    max_trials: MaxTrialsOption = None,
    grace_s: GraceOption = 60.0,
    hang_s: HangOption = 1800.0,
    drain_s: DrainSecondsOption = 30.0,
    outage_s: OutageOption = 900.0,
    db: DatabaseOption = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-worker",
            min=0,
            max=64,
            metavar="G",
            rich_help_panel=ENGINES,
            help="Ray (1 or a part), Slurm: GPUs of each worker.",
        ),
    ] = None,
    detach: Annotated[
        bool | None,
        typer.Option(
            "--detach/--attach", rich_help_panel=ENGINES, help="Return at once, or wait; else only Slurm returns."
        ),
    ] = None,
    address: AddressOption = "auto",
    cpus_per_worker: CpusOption = 1.0,
    elastic: ElasticOption = False,
    time_limit: TimeOption = None,
    partition: PartitionOption = None,
    sbatch: SbatchOption = None,
) -> None:
    """Run several workers until there is nothing to do; on this host, more workers than GPUs share them.

    A worker that crashes is started again, with a growing pause. Ctrl-C has all of them give their trials back. At
    the end stands what was retried, and why.
    """
    from anomalyvfm_opt.cli.fleet.run import run_fleet
    from anomalyvfm_opt.cli.fleet.slurm import launch_on_slurm
    from anomalyvfm_opt.launch.places import Needs
    from anomalyvfm_opt.launch.slurm import check_host
    from anomalyvfm_opt.launch.slurm_request import read_request
    from anomalyvfm_opt.store.selection import select_families, select_left
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.worker.slots import lay_out

    _refuse_of_another(context, engine)
    request = None
    if engine is EngineName.SLURM:
        request = read_request(count or 1, drain_s, time_limit, partition, gpus_per_worker, sbatch)
        check_host()
    if engine is not EngineName.RAY:  # whose nodes have folders of their own
        _refuse_missing(data, weights)
    store = open_store(db)
    names = [*(studies or []), *(study or [])]
    if not select_families(store.engine, names) and not keep_running:
        say("no studies yet; create one: anomalyvfm-opt study create SPEC --data DIR")
        return
    if engine is EngineName.RAY:
        needs = Needs(1.0 if gpus_per_worker is None else gpus_per_worker, cpus_per_worker)
        options = RayOptions(address, needs, count, detach is True, elastic)
        raise typer.Exit(launch_on_ray(context, store, lambda: select_left(store.engine, names), options))
    arguments = ["--cache-gib", str(cache_gib), "--grace-s", str(grace_s), "--hang-s", str(hang_s)]
    arguments += ["--drain-s", str(drain_s), "--outage-s", str(outage_s)]
    arguments += _list_given(names, db, data, weights)
    arguments += ["--keep-running"] if keep_running else []
    arguments += ["--max-trials", str(max_trials)] if max_trials else []
    if request is not None:
        on = "cuda" if request.gpus_per_worker and device == "auto" else device  # without its GPU a job is to fail
        arguments += ["--threads", str(threads)] if threads else []
        raise typer.Exit(launch_on_slurm(request, ["--device", on, *arguments], detach is not False, outage_s))
    slots, placed = lay_out(count, device, threads)
    arguments = [*placed, *arguments]
    say(f"{counted(len(slots), 'worker')} by engine {engine}: {', '.join(slot.place for slot in slots)}")
    raise typer.Exit(run_fleet(store, lambda: select_left(store.engine, names), slots, arguments))


def _refuse_of_another(context: typer.Context, engine: EngineName) -> None:
    from anomalyvfm_opt.errors import UsageError

    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        is_given = source is not None and source.name == "COMMANDLINE" and context.params[name] is not False
        engines = _ENGINES_OF.get(name, (engine,))
        if is_given and engine not in engines:
            option, known = parameter.opts[0], " and ".join(engines)
            hint = f"add --engine {engines[0]}, or leave it out"
            raise UsageError(f"{option} is an option of --engine {known}, not of {engine}", hint)


def _list_given(names: list[str], db: str | None, data: Path | None, weights: Path | None) -> list[str]:
    """Return the arguments for `worker run`, with absolute paths, since it may start in another folder."""
    given = [("--study", name) for name in names]
    given += [("--db", db)] if db else []
    given += [
        (option, str(expand_home(path).absolute()))
        for option, path in (("--data", data), ("--weights", weights))
        if path
    ]
    return [part for pair in given for part in pair]


def _refuse_missing(data: Path | None, weights: Path | None) -> None:
    """Refuse once what every worker would be refused for, before any is started."""
    from anomalyvfm_opt.errors import EnvironmentMissingError

    if data is not None and not expand_home(data).is_dir():
        raise EnvironmentMissingError(f"--data: no folder {data}", "name the folder that holds the categories")
    if weights is not None and not expand_home(weights).is_file():
        raise EnvironmentMissingError(f"--weights: no file {weights}", "name a safetensors file")
