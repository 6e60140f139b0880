"""`forecast add` and `forecast list`: the ledger of what was promised, and what came of it."""

from typing import Annotated

import typer

from anomalyvfm_opt.cli.groups import make_group
from anomalyvfm_opt.cli.options import DatabaseOption, JsonOption
from anomalyvfm_opt.cli.output import print_json, say
from anomalyvfm_opt.cli.studies import AnyStudiesArgument, StudyArgument
from anomalyvfm_opt.cli.tables import print_parts

app = make_group("Forecasts of the gain, written down before the lock is opened.")


@app.command(context_settings={"ignore_unknown_options": True})  # so that -0.01 is a number
def add(
    study: StudyArgument,
    gain: Annotated[
        float,
        typer.Argument(metavar="GAIN", help="Finalist minus baseline in image AUROC, such as 0.01 or -0.01."),
    ],
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why you think so.")] = "",
    source: Annotated[
        str | None, typer.Option("--source", metavar="NAME", help="Who or what says so; else you.")
    ] = None,
    db: DatabaseOption = None,
) -> None:
    """Write down what gain you expect, before the locked images are opened."""
    from anomalyvfm_opt.errors import UsageError
    from anomalyvfm_opt.store.rights import check_may
    from anomalyvfm_opt.store.selection import select_one
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.verdict.read_ledger import predict

    if not -1 <= gain <= 1:
        raise UsageError(f"a gain of {gain:g} is no difference of two AUROC, which are 0 to 1", "such as 0.01")
    store = open_store(db)
    check_may(store.engine, "predict")
    record = select_one(store.engine, study)
    number = predict(store.engine, record, gain, note, source)
    say(f"{record.name}: a gain of {gain:+.4f} is written down; round {number} of its confirmation will answer")


@app.command("list")
def list_all(
    studies: AnyStudiesArgument = None,
    db: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was forecast, what was confirmed, and how good each source has been."""
    from anomalyvfm_opt.report.ledger_text import ledger_to_json, tabulate_ledger, tabulate_records
    from anomalyvfm_opt.store.selection import select_studies
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.verdict.read_ledger import read_ledger

    store = open_store(db)
    entries = read_ledger(store, select_studies(store.engine, studies or []))
    if as_json:
        print_json(ledger_to_json(entries))
        return
    if not entries:
        say("no forecasts yet; make one: anomalyvfm-opt forecast add STUDY 0.01 --note TEXT")
        return
    print_parts([grid for grid in (tabulate_ledger(entries), tabulate_records(entries)) if grid.rows])
