"""`worker list`, `worker drain` and `worker reap`: all workers of a study store, on whatever host."""

from typing import Annotated

import typer

from anomalyvfm_opt.cli.options import DatabaseOption, JsonOption
from anomalyvfm_opt.cli.output import print_json, say
from anomalyvfm_opt.cli.tables import print_grid
from anomalyvfm_opt.words import counted

_FORGET_DAYS = 7


def list_all(
    ended: Annotated[bool, typer.Option("--all", help="Also those that ended, and those long silent.")] = False,
    db: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the workers: where they run, what they run, and when they were last heard of."""
    from anomalyvfm_opt.report.workers_text import tabulate_workers, worker_to_json
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.store.workers import list_workers

    workers = list_workers(open_store(db).engine, with_ended=ended)
    if as_json:
        print_json({"schema": 1, "workers": [worker_to_json(worker) for worker in workers]})
        return
    if not workers:
        say("no workers; start one: anomalyvfm-opt worker run")
        return
    print_grid(tabulate_workers(workers))


def drain(
    names: Annotated[list[str], typer.Argument(metavar="W...", help="Workers, the first letters of one, or all.")],
    finish: Annotated[bool, typer.Option("--finish", help="Let the running trial end first.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Take a request back that was not heard yet.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Ask workers to end: the trial is given back, and another worker takes it up from its last epoch."""
    from anomalyvfm_opt.errors import UsageError
    from anomalyvfm_opt.store.selection import select_workers
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.store.workers import request_drain

    if finish and cancel:
        raise UsageError("--finish and --cancel contradict each other", "give one of them")
    engine = open_store(db).engine
    chosen = [worker.name for worker in select_workers(engine, names)]
    request_drain(engine, chosen, "" if cancel else "finish" if finish else "now")
    what = "goes on" if cancel else "ends after its trial" if finish else "gives its trial back and ends"
    for name in chosen:
        say(f"{name} {what}; it hears of it with its next heartbeat, within 5 s")


def reap_all(db: DatabaseOption = None) -> None:
    """Give back the trials of dead workers now; any running worker does it between its trials as well."""

    from anomalyvfm_opt.store.deletions import passed_over
    from anomalyvfm_opt.store.selection import select_families
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.store.workers import forget_workers
    from anomalyvfm_opt.trial.reap import reap

    store = open_store(db)
    found = 0
    for record in select_families(store.engine, []):
        with passed_over(record.name, say):
            for number in reap(store.study(record.name), store.engine, "worker reap"):
                found += 1
                say(f"{record.name} trial {number}: its worker died; given back")
    forgotten = forget_workers(store.engine, _FORGET_DAYS)
    say(
        f"{counted(found, 'trial')} given back, {counted(forgotten, 'worker')} forgotten"
        f" that ended {_FORGET_DAYS} days ago or earlier"
    )
