"""What a fleet of workers came to: its studies, its slots, its crashes, and the trials that were given back."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from anomalyvfm_opt.launch.supervise import SlotState
from anomalyvfm_opt.report.grid import Grid, Part
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.retries import list_retries
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.study_state import StudyState, read_state
from anomalyvfm_opt.words import counted

_HEADS = ("study", "done", "complete", "pruned", "failed", "running")


def summarise_fleet(
    store: Store,
    records: Sequence[StudyRecord],
    states: Sequence[SlotState],
    crashes: Sequence[str],
    since: datetime,
) -> Iterator[Part]:
    """Yield a table of the studies, and lines about the workers and the trials that were given back.

    Args:
        store: the study store, which is asked as the summary is read.
        records: the studies that the workers served.
        states: of the slots, at the fleet's end.
        crashes: of workers, a line each.
        since: when the fleet began, by the database's clock.
    """
    usages = [(record, count_usage(store.engine, record.study_id)) for record in records]
    rows = [
        (r.name, f"{u.done}/{r.budget}", str(u.complete), str(u.pruned), str(u.failed), str(u.running))
        for r, u in usages
    ]
    yield Grid("", _HEADS, rows, right=(1, 2, 3, 4, 5))
    starts, restarts = sum(state.starts for state in states), sum(state.restarts.total for state in states)
    yield f"{counted(len(states), 'slot')}, {counted(starts, 'worker')} started, {counted(restarts, 'restart')}"
    for crash in crashes:
        yield f"  {crash}"
    retries = list_retries(store.engine, [record.study_id for record in records], since)
    yield f"{counted(len(retries), 'trial')} given back" + (":" if retries else "")
    for retry in retries:
        yield f"  {retry.describe()}"


def list_stopped(store: Store, records: Sequence[StudyRecord]) -> list[tuple[StudyRecord, StudyState]]:
    """Return the studies that were stopped, by a person or for bugs, with their states."""
    states = [(record, read_state(store.engine, record.study_id)) for record in records]
    return [(record, state) for record, state in states if state.name == "stopped"]
