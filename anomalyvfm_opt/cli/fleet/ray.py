"""`worker launch --engine ray`: its options, and what is checked before anything is placed."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.options import ENGINES
from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.files import expand_home
from anomalyvfm_opt.words import counted

if TYPE_CHECKING:
    from anomalyvfm_opt.launch.base import Slot
    from anomalyvfm_opt.launch.places import Needs, Node
    from anomalyvfm_opt.store.store import Store
    from anomalyvfm_opt.store.studies import StudyRecord

AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="A",
        envvar="RAY_ADDRESS",
        rich_help_panel=ENGINES,
        help="Ray: the cluster, as HOST:PORT, ray://HOST:10001, or auto for this machine's.",
    ),
]
CpusOption = Annotated[
    float,
    typer.Option(
        "--cpus-per-worker",
        min=0.01,
        max=1024,
        metavar="C",
        rich_help_panel=ENGINES,
        help="Ray: cores of a worker.",
    ),
]
ElasticOption = Annotated[
    bool,
    typer.Option(
        "--elastic",
        rich_help_panel=ENGINES,
        help="Ray: the cluster grows when asked; do not check its room now.",
    ),
]
_PASSED_ON = {
    *("study", "data", "keep_running", "weights", "cache_gib", "device", "max_trials"),
    *("grace_s", "hang_s", "drain_s", "outage_s"),
}
_PASSFILE = "PGPASSFILE"
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class RayOptions:
    """What `--engine ray` was told."""

    address: str
    needs: "Needs"
    count: int | None
    is_detached: bool
    is_elastic: bool


def launch_on_ray(
    context: typer.Context, store: "Store", select: "Callable[[], list[StudyRecord]]", options: RayOptions
) -> int:
    """Place workers on a Ray cluster; attached until they have ended, or detached.

    Returns:
        The exit code.

    Raises:
        UsageError: options that cannot be.
        EnvironmentMissingError: no Ray, no cluster, no token, no room.
    """
    from anomalyvfm_opt.cli.fleet.run import run_fleet
    from anomalyvfm_opt.launch.places import lay_out_places
    from anomalyvfm_opt.launch.ray_cluster import RayLauncher
    from anomalyvfm_opt.launch.ray_connection import connect
    from anomalyvfm_opt.worker.fleet import invent_family

    options.needs.check()
    nodes = connect(options.address)
    _refuse_private_database(context, nodes)
    slots = lay_out_places(nodes, options.needs, options.count, options.is_elastic, _list_environment())
    arguments = _list_arguments(context, store, options.needs)
    say(
        f"{counted(len(slots), 'worker')} by engine ray, each with {options.needs.describe()},"
        f" on {counted(len(nodes), 'node')}"
    )
    if options.is_detached:
        return _detach(slots, arguments, invent_family(), options.needs)
    return run_fleet(store, select, slots, arguments, lambda on_line: RayLauncher(on_line, options.needs))


def _list_arguments(context: typer.Context, store: "Store", needs: "Needs") -> list[str]:
    """Return the arguments for `worker run`: what was typed here; each node's own environment says the rest."""
    threads = context.params["threads"] or max(1, int(needs.cpus))
    arguments = ["--db", store.url, "--threads", str(threads)]
    arguments += [part for name in context.params["studies"] or () for part in ("--study", name)]
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in _PASSED_ON or _find_source(context, name) != "COMMANDLINE":
            continue
        value = context.params[name]
        for one in value if isinstance(value, (list, tuple)) else [value]:
            one = expand_home(one).absolute() if isinstance(one, Path) else one  # an actor has a folder of its own
            arguments += [parameter.opts[0]] if one is True else [parameter.opts[0], str(one)]
    if _find_source(context, "device") == "DEFAULT":
        arguments += ["--device", "cuda" if needs.gpus else "cpu"]  # never a CPU by oversight where a GPU is held
    return arguments


def _list_environment() -> dict[str, str]:
    """Return what a worker sees of our environment: where each node has the password, never the password."""
    file = os.environ.get(_PASSFILE)
    return {_PASSFILE: file} if file else {}


def _find_source(context: typer.Context, name: str) -> str:
    """Return COMMANDLINE, ENVIRONMENT or DEFAULT: by name, since Typer has a Click of its own."""
    source = context.get_parameter_source(name)
    return source.name if source is not None else ""


def _refuse_private_database(context: typer.Context, nodes: "list[Node]") -> None:
    """Refuse the embedded database, which is this host's: elsewhere a worker would find none, or another one."""
    from anomalyvfm_opt.errors import EnvironmentMissingError
    from anomalyvfm_opt.launch.ray_connection import list_elsewhere
    from anomalyvfm_opt.store.url import URL_VARIABLE, read_variable

    is_named = context.params.get("db") is not None or read_variable() is not None
    elsewhere = list_elsewhere(nodes)
    if elsewhere and not is_named:
        raise EnvironmentMissingError(
            f"the embedded database of this host cannot be reached from {elsewhere[0]}",
            f"open it with `db up --listen ADDRESS` and give the URL that it prints as --db or {URL_VARIABLE}",
        )


def _detach(slots: "list[Slot]", arguments: list[str], family: str, needs: "Needs") -> int:
    from anomalyvfm_opt.errors import EXIT_DONE
    from anomalyvfm_opt.launch.ray_cluster import detach_workers
    from anomalyvfm_opt.launch.ray_connection import NAMESPACE

    places = detach_workers(slots, arguments, family, needs, _PATIENCE_S)
    for slot, place in zip(slots, places, strict=True):
        say(f"[{slot.number}] {f'placed {place}' if place else 'waits for room in the cluster'}")
    say(f"they are the actors {family}-N in Ray's namespace {NAMESPACE}, and end when nothing is left to do")
    say("look: anomalyvfm-opt worker list")
    say("stop: anomalyvfm-opt worker drain all")
    return EXIT_DONE
