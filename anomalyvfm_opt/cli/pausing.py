"""`study pause`, `study resume` and `study stop`."""

from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.options import DatabaseOption
from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.cli.studies import StudiesArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine

    from anomalyvfm_opt.store.store import Store
    from anomalyvfm_opt.store.studies import StudyRecord
    from anomalyvfm_opt.store.study_state import State

NowOption = Annotated[
    bool, typer.Option("--now", help="Take the running trials back as well, instead of letting them end.")
]


def pause(studies: StudiesArgument, now: NowOption = False, db: DatabaseOption = None) -> None:
    """Start no more trials, nor replicates; workers wait for `study resume`. Running trials end, unless --now."""
    from anomalyvfm_opt.store.selection import select_families

    _halt(select_families, studies, now, db, "paused", "pause")


def resume(studies: StudiesArgument, db: DatabaseOption = None) -> None:
    """Let a paused or stopped study go on."""
    from anomalyvfm_opt.store.selection import select_families
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.store.study_state import set_state

    store = open_store(db)
    for record in select_families(store.engine, studies):
        is_new = set_state(store.engine, record.study_id, "active")
        say(f"{record.name} {'goes on' if is_new else 'was active already'}")


def stop(studies: StudiesArgument, now: NowOption = False, db: DatabaseOption = None) -> None:
    """End the search as it is: it may be confirmed then. Running trials end, unless --now; siblings go on."""
    from anomalyvfm_opt.store.selection import select_studies

    _halt(select_studies, studies, now, db, "stopped", "stop")


def _halt(
    select: "Callable[[Engine, Sequence[str]], list[StudyRecord]]",
    studies: list[str],
    now: bool,
    db: str | None,
    state: "State",
    verb: str,
) -> None:
    from anomalyvfm_opt.store.deletions import passed_over
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.store.study_state import BY_A_PERSON, set_state

    store = open_store(db)
    for record in select(store.engine, studies):
        with passed_over(record.name, say):
            is_new = set_state(store.engine, record.study_id, state, f"{BY_A_PERSON}{verb}")
            taken = _take_back(store, record, now, f"study {verb} --now")
            say(f"{record.name} {'is' if is_new else 'was'} {state}{'' if is_new else ' already'}{taken}")


def _take_back(store: "Store", record: "StudyRecord", now: bool, by: str) -> str:
    """Take the running trials back, if now; return what is said of them, empty if there are none."""
    from anomalyvfm_opt.trial.reap import list_running, take_back

    running = list_running(store.study(record.name))
    numbers = ", ".join(str(trial.number) for trial in running)
    if not running:
        return ""
    if not now:
        return f"; its running trials ({numbers}) end first"
    take_back(store.engine, running, by)
    return f"; its running trials ({numbers}) are taken back"
