"""`study export` and `study import`: move a study to another store."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from anomalyvfm_opt.cli.options import DatabaseOption
from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.cli.studies import StudyArgument
from anomalyvfm_opt.words import counted


def export_one(
    name: StudyArgument,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Compressed if it ends in .gz; - for stdout; else SPEC-CATEGORY.study.json.gz here.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Write a study to a file, with its siblings, all trials and scores, for `study import` into another store.

    The study stays as it is, and its workers may go on. A trial that runs travels as waiting.
    """
    from anomalyvfm_opt.signals import end_as_interrupted
    from anomalyvfm_opt.store.transfer.file import STDOUT, check_target, write_file

    end_as_interrupted()
    if output is not None:
        check_target(output, may_replace=force)  # before the database is asked for anything

    from anomalyvfm_opt.errors import UsageError
    from anomalyvfm_opt.store.selection import select_one
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.store.transfer.move import export_study

    store = open_store(db)
    record = select_one(store.engine, name)
    if record.kind != "search":
        raise UsageError(f"{record.name} is a sibling study", f"it travels with {record.family}: export that")
    target = output or f"{record.spec.name}-{record.category}.study.json.gz"
    check_target(target, may_replace=force)
    header = export_study(store.engine, record.name, partial(write_file, target))
    say(f"exported {record.name} to {'stdout' if target == STDOUT else target}: {counted(header.trials, 'trial')}")
    if header.requeued:
        say(
            f"running or sealed trials: {header.requeued}; such a trial travels as waiting, with its parameters"
            " and seed, and is run anew where the file is imported; here it stays as it is"
        )


def import_one(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File that `study export` wrote.")],
    db: DatabaseOption = None,
) -> None:
    """Put an exported study into this store, all of it or nothing; repeating it changes nothing."""
    from anomalyvfm_opt.store.transfer.reading import check_file

    whole = check_file(file)  # before the database is asked for anything

    from anomalyvfm_opt.store.rights import check_may
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.store.transfer.move import import_study

    name, header = whole.header.study, whole.header
    engine = open_store(db).engine
    check_may(engine, "create studies")
    if not import_study(engine, whole):
        say(f"{name} is there already, unchanged")
        return
    ran = f", {header.requeued} of which ran or were sealed when it was exported" if header.requeued else ""
    say(f"imported {name}: {counted(header.trials, 'trial')}{ran}")
    say(f"next: anomalyvfm-opt worker run {name} --data DIR   (the images do not travel)")
