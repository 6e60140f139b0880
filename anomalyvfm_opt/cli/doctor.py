"""`doctor`: look at everything that a worker needs, and say what to do."""

import sys
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

    from anomalyvfm_opt.doctor.check import CheckResult

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}
_LEAST_WIDTH = 24  # of what a check says


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
    from anomalyvfm_opt.doctor.checklist import Named, Planned, list_checks
    from anomalyvfm_opt.doctor.database import Database
    from anomalyvfm_opt.errors import EXIT_ENVIRONMENT

    database = Database(db)
    named = Named(data=data, weights=weights, spec=spec, study=study)
    planned = Planned(device=device, workers=workers, cache_gib=cache_gib, on_this_host=worker)
    try:
        findings = run_checks(list_checks(database, named, planned))
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


def _print_findings(findings: "Mapping[str, CheckResult]") -> None:
    """Print on stdout a line a check, and its fix below; wrapped between words to a terminal's width."""
    from rich.text import Text

    console, encoding = open_console(), sys.stdout.encoding
    status_width = max(len(found.status) for found in findings.values())
    indent = status_width + max(map(len, findings)) + 4
    room = max(_LEAST_WIDTH, console.width - indent)
    for name, found in findings.items():
        before = Text.assemble((f"{found.status:<{status_width}}  ", _STYLES[found.status]), name)
        said = [(found.detail, ""), *([(f"fix: {found.fix}", "cyan")] if found.fix else [])]
        for text, style in said:
            for line in escape_lines(text, encoding, room).split("\n"):
                before.pad_right(indent - before.cell_len)
                console.print(Text.assemble(before, (line, style)), soft_wrap=True, highlight=False)
                before = Text()
