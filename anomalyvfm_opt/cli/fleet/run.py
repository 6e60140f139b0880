"""Run a fleet of workers to its end, and say what happened to its trials."""

import os
import platform
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from types import FrameType

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from anomalyvfm_opt.cli.fleet.display import Display, open_display
from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.cli.tables import print_table
from anomalyvfm_opt.errors import EXIT_BUG, EXIT_DONE, AnomalyVFMOptError
from anomalyvfm_opt.launch.base import Launcher, Slot
from anomalyvfm_opt.launch.local import LocalLauncher
from anomalyvfm_opt.launch.supervise import SlotState, Supervisor
from anomalyvfm_opt.signals import EXIT_CODES, heard
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.retries import list_retries, read_clock
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.study_state import read_state
from anomalyvfm_opt.store.workers import bury_worker
from anomalyvfm_opt.words import counted

_STUDIES_S = 2.0


@dataclass
class _Watched:
    """The display, and the crashes for the summary."""

    store: Store
    display: Display
    family: str  # first part of the workers' names
    crashes: list[str] = field(default_factory=list)

    def name(self, slot: Slot, start: int) -> str:
        return f"{self.family}-{slot.number}.{start}"

    def note(self, state: SlotState) -> None:
        if state.last_code and not state.is_running:
            self.crashes.append(f"slot {state.slot.number}: {state.note}")
            if not state.is_lost:  # else it may be giving its trial back this very moment
                self._bury(state)
        self.display.show_note(state)

    def _bury(self, state: SlotState) -> None:
        try:
            bury_worker(self.store.engine, self.name(state.slot, state.starts), state.note)
        except SQLAlchemyError as error:  # then its trial waits for the end of its grace
            say(f"the database does not answer: {str(error).splitlines()[0]}")


def run_fleet(
    store: Store,
    select: Callable[[], list[StudyRecord]],
    slots: Sequence[Slot],
    arguments: Sequence[str],
    make_launcher: Callable[[Callable[[Slot, str], None]], Launcher] = LocalLauncher,
) -> int:
    """Fill the slots with workers until there is nothing left to do; print the summary.

    Args:
        store: the study store.
        select: the studies that the workers serve.
        slots: of this host, or of the engine's.
        arguments: of each `worker run`.
        make_launcher: the engine, given what to do with a worker's line.

    Returns:
        The exit code: see `Supervisor.run`.
    """
    since = read_clock(store.engine)
    display = open_display(_describe_studies(store, select))
    watched = _Watched(store, display, invent_family())
    launcher = make_launcher(watched.display.show_line)

    def name_worker(slot: Slot, start: int) -> list[str]:
        return [*arguments, "--name", watched.name(slot, start)]

    supervisor = Supervisor(launcher, slots, name_worker, watched.note, watched.display.refresh)
    with heard(partial(_pass_on, supervisor)):
        try:
            exit_code = supervisor.run()
        finally:
            launcher.signal(signal.SIGTERM)  # after an error of ours nobody would look after the workers any more
            watched.display.close()
        try:
            records = select()
            _print_summary(store, records, supervisor.states, watched.crashes, since)
            if exit_code == EXIT_DONE and _say_stopped(store, records):
                return EXIT_BUG
        except (SQLAlchemyError, StorageInternalError, AnomalyVFMOptError, OSError) as error:
            say(f"no summary: {str(error).splitlines()[0]}")
    return exit_code


def invent_family() -> str:
    """Return the first part of the names of a fleet's workers; a process may run several fleets in turn."""
    return f"{platform.node()}-{os.getpid()}-{secrets.token_hex(2)}"


def _pass_on(supervisor: Supervisor, number: int, _frame: FrameType | None) -> None:
    """Pass on what is to end us to the workers, and end with the last of them."""
    passed_on = signal.SIGTERM if number == signal.SIGHUP else number  # which a worker of nohup does not hear
    supervisor.stop(passed_on, EXIT_CODES[signal.Signals(number)])


def _describe_studies(store: Store, select: Callable[[], list[StudyRecord]]) -> Callable[[], list[str]]:
    """Return lines such as `demo/brick 5/8, 2 running`, asked for every two seconds at most."""
    lines: list[str] = []
    asked_at = 0.0

    def describe() -> list[str]:
        nonlocal lines, asked_at
        if time.monotonic() - asked_at > _STUDIES_S:
            asked_at = time.monotonic()
            try:
                usages = [(record, count_usage(store.engine, record.study_id)) for record in select()]
            except (SQLAlchemyError, AnomalyVFMOptError) as error:
                return [*lines, str(error).splitlines()[0]]
            lines = [f"{r.name} {u.used}/{r.budget}, {u.running} running" for r, u in usages]
        return lines

    return describe


def _print_summary(
    store: Store, records: list[StudyRecord], states: Sequence[SlotState], crashes: list[str], since: datetime
) -> None:
    usages = [(record, count_usage(store.engine, record.study_id)) for record in records]
    rows = [
        (r.name, f"{u.used}/{r.budget}", str(u.complete), str(u.pruned), str(u.failed), str(u.running))
        for r, u in usages
    ]
    heads = ("study", "used", "complete", "pruned", "failed", "running")
    print_table("", heads, rows, right=(1, 2, 3, 4, 5))
    starts, restarts = sum(state.starts for state in states), sum(state.restarts.total for state in states)
    say(f"{counted(len(states), 'slot')}, {counted(starts, 'worker')} started, {counted(restarts, 'restart')}")
    for crash in crashes:
        say(f"  {crash}")
    retries = list_retries(store.engine, [record.study_id for record in records], since)
    say(f"{counted(len(retries), 'trial')} given back" + (":" if retries else ""))
    for retry in retries:
        say(f"  {retry.describe()}")


def _say_stopped(store: Store, records: list[StudyRecord]) -> bool:
    """Name the studies that were stopped; True if one was because of bugs."""
    states = [(record, read_state(store.engine, record.study_id)) for record in records]
    stopped = [(record, state) for record, state in states if state.name == "stopped"]
    for record, state in stopped:
        say(f"{record.name} is stopped: {state.reason}")
    return any(state.is_by_bugs for _, state in stopped)
