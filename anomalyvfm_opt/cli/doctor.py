"""`doctor`: look at everything that a worker needs, and say what to do."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.options import (
    CacheOption,
    DatabaseOption,
    DataOption,
    DeviceOption,
    JsonOption,
    WeightsOption,
)
from anomalyvfm_opt.cli.output import escape_lines, open_console, print_json, say
from anomalyvfm_opt.cli.studies import spell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anomalyvfm_opt.doctor.check import Check, CheckResult
    from anomalyvfm_opt.doctor.database import Database
    from anomalyvfm_opt.doctor.subject import Subject

_READ_LIMIT_S = 1800.0  # all images of all studies, or weights, perhaps over a network
_IMPORT_LIMIT_S = 120.0  # torch's first import from a network disk
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}


@dataclass(frozen=True)
class _Named:
    """What the options name; None for what is not given."""

    data: Path | None
    weights: Path | None
    spec: Path | None
    study: str | None


def doctor(
    db: DatabaseOption = None,
    data: DataOption = None,
    spec: Annotated[
        Path | None, typer.Option("--spec", metavar="FILE", help="Look at what this spec needs, too.")
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            "--study",
            metavar="STUDY",
            callback=spell,
            help="The same for a study in the store, or a spec's studies.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    workers: Annotated[
        int, typer.Option("--workers", min=1, metavar="N", help="Workers that are planned, over all hosts.")
    ] = 1,
    worker: Annotated[
        bool, typer.Option("--worker", help="Look for all that a worker on this host would be refused for.")
    ] = False,
    weights: WeightsOption = None,
    cache_gib: CacheOption = 64.0,
    as_json: JsonOption = False,
) -> None:
    """Check database, device, weights, data and disk, with the fix for what is wrong; exit 3 on a failure.

    It changes nothing: it starts no database, makes no tables and no folder, and downloads nothing but, with
    --worker, weights that a worker would download as well.
    """
    from dataclasses import asdict

    from anomalyvfm_opt.doctor.check import Status, run_checks, summarise
    from anomalyvfm_opt.doctor.database import Database
    from anomalyvfm_opt.doctor.subject import Subject
    from anomalyvfm_opt.errors import EXIT_ENVIRONMENT

    database, subject, named = Database(db), Subject(), _Named(data, weights, spec, study)
    try:
        findings = run_checks(
            [
                *_list_host_checks(cache_gib, worker),
                *_list_store_checks(database, workers),
                *_list_device_checks(device),
                *_list_input_checks(subject, database, named, worker),
                *(_list_worker_checks(subject, database, named, device) if worker else ()),
            ]
        )
    finally:
        database.close()
    status = summarise(findings.values())
    if as_json:
        checks = [{"name": name, **asdict(finding)} for name, finding in findings.items()]
        print_json({"schema": 1, "checks": checks, "status": status})
    else:
        _print_findings(findings)
        counts = {each: sum(found.status is each for found in findings.values()) for each in Status}
        say(", ".join(f"{count} {each}" for each, count in counts.items() if count))
    if status is Status.FAIL:
        raise typer.Exit(EXIT_ENVIRONMENT)


def _list_host_checks(cache_gib: float, worker: bool) -> "list[Check]":
    from anomalyvfm_opt.doctor import packages, state
    from anomalyvfm_opt.doctor.check import Check

    return [
        Check("packages", packages.look_at_packages),
        Check("state_folder", state.look_at_state_folder),
        Check("disk", lambda: state.look_at_disk(int(cache_gib * 2**30), is_for_worker=worker)),
    ]


def _list_store_checks(database: "Database", workers: int) -> "list[Check]":
    from anomalyvfm_opt.doctor import connections, embedded, roles, tables
    from anomalyvfm_opt.doctor import database as server
    from anomalyvfm_opt.doctor.check import Check

    look_at_embedded = Check("embedded", lambda: embedded.look_at_embedded(database), needs=("state_folder",))
    needs_embedded = ("embedded",) if database.is_embedded else ()
    return [
        *([look_at_embedded] if database.is_embedded else []),
        Check("database", lambda: server.look_at_connection(database), needs=needs_embedded),
        Check("password", lambda: server.look_at_password(database)),
        Check("server", lambda: server.look_at_server(database), needs=("database",)),
        Check("latency", lambda: server.look_at_latency(database), needs=("database",)),
        Check("clock", lambda: server.look_at_clock(database), needs=("database",)),
        Check("rights", lambda: tables.look_at_rights(database), needs=("database",)),
        Check("schema", lambda: tables.look_at_schema(database), needs=("rights",)),
        Check("optuna_schema", lambda: tables.look_at_optuna_schema(database), needs=("rights",)),
        Check("roles", lambda: roles.look_at_roles(database), needs=("schema", "optuna_schema")),
        Check("origins", lambda: roles.look_at_origins(database), needs=("schema", "optuna_schema")),
        Check("connections", lambda: connections.look_at_connections(database, workers), needs=("database",)),
    ]


def _list_device_checks(device: str) -> "list[Check]":
    from anomalyvfm_opt.doctor import device as computing
    from anomalyvfm_opt.doctor.check import Check

    return [
        Check("torch", lambda: computing.look_at_torch(device), limit_s=_IMPORT_LIMIT_S),
        Check("device", lambda: computing.look_at_device(device), needs=("torch",), limit_s=_IMPORT_LIMIT_S),
        Check("threads", computing.look_at_threads, needs=("torch",)),
    ]


def _list_input_checks(subject: "Subject", database: "Database", named: _Named, worker: bool) -> "list[Check]":
    from anomalyvfm_opt.doctor import joining
    from anomalyvfm_opt.doctor import subject as inputs
    from anomalyvfm_opt.doctor.check import Check
    from anomalyvfm_opt.doctor.data import look_at_data
    from anomalyvfm_opt.doctor.weights import look_at_weights

    spec, study, needs = named.spec, named.study, ("schema", "optuna_schema")
    checks = []
    if spec is not None:
        checks.append(Check("spec", lambda: inputs.look_at_spec(subject, spec)))
    if study is not None:
        checks.append(Check("study", lambda: inputs.look_at_study(subject, database, study), needs=needs))
    if worker:
        checks.append(Check("studies", lambda: joining.look_at_studies(subject, database, study), needs=needs))
    earlier = tuple(check.name for check in checks)
    return [
        *checks,
        Check(
            "weights",
            lambda: look_at_weights(subject, named.weights),
            needs=(*earlier, "torch"),
            limit_s=_IMPORT_LIMIT_S,
        ),
        Check("data", lambda: look_at_data(subject, named.data), needs=() if named.data else earlier),
    ]


def _list_worker_checks(subject: "Subject", database: "Database", named: _Named, device: str) -> "list[Check]":
    from anomalyvfm_opt.doctor import joining
    from anomalyvfm_opt.doctor.check import Check

    return [
        Check(
            "study_images",
            lambda: joining.look_at_images(subject, database, named.data),
            needs=("studies", "data"),
            limit_s=_READ_LIMIT_S,
        ),
        Check(
            "study_weights",
            lambda: joining.look_at_weights(subject, named.weights),
            needs=("studies", "weights"),
            limit_s=_READ_LIMIT_S,
        ),
        Check("fleet", lambda: joining.look_at_fleet(subject, database, device), needs=("studies", "device")),
        Check("artifacts", lambda: joining.look_at_artifacts(database), needs=("schema",)),
    ]


def _print_findings(findings: "Mapping[str, CheckResult]") -> None:
    """Print a table on stdout: a line a check, and its fix below; wrapped to a terminal's width."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, found in findings.items():
        table.add_row(
            Text(found.status, _STYLES[found.status]),
            Text(name),
            Text(escape_lines(found.detail, sys.stdout.encoding)),
        )
        if found.fix:
            table.add_row("", "", Text(escape_lines(f"fix: {found.fix}", sys.stdout.encoding), "cyan"))
    open_console().print(table)
