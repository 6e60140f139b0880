"""Run a fleet of workers to its end, and tell what happened to its trials."""

import os
import platform
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Protocol

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from anomalyvfm_opt.errors import EXIT_BUG, EXIT_DONE, AnomalyVFMOptError
from anomalyvfm_opt.launch.base import Launcher, Slot
from anomalyvfm_opt.launch.supervise import SlotState, Supervisor
from anomalyvfm_opt.report.grid import Part
from anomalyvfm_opt.signals import EXIT_CODES, heard
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.retries import read_clock
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.workers import bury_worker
from anomalyvfm_opt.worker.fleet_summary import list_stopped, summarise_fleet

_STUDIES_S = 2.0


class Display(Protocol):
    """What shows a fleet of workers, in a terminal or in a log."""

    def show_line(self, slot: Slot, line: str) -> None:
        """Show a line that a worker wrote."""

    def show_note(self, state: SlotState) -> None:
        """Show that a slot's worker was started, or ended."""

    def refresh(self, states: Sequence[SlotState]) -> None:
        """Bring the display up to date; called a few times a second."""

    def close(self) -> None:
        """End the display; nothing is shown afterwards."""


@dataclass(frozen=True)
class Screen:
    """How whoever runs a fleet sees it.

    Args:
        open_display: given what returns a line for each study.
        tell: told lines and tables that stay.
    """

    open_display: Callable[[Callable[[], list[str]]], Display]
    tell: Callable[[Part], None]


@dataclass
class _Watched:
    """The display, and the crashes for the summary."""

    store: Store
    display: Display
    tell: Callable[[Part], None]
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
            self.tell(f"the database does not answer: {str(error).splitlines()[0]}")


def run_fleet(
    store: Store,
    select: Callable[[], list[StudyRecord]],
    slots: Sequence[Slot],
    arguments: Sequence[str],
    screen: Screen,
    make_launcher: Callable[[Callable[[Slot, str], None]], Launcher],
) -> int:
    """Fill the slots with workers until there is nothing left to do; tell the summary.

    Args:
        store: the study store.
        select: the studies that the workers serve.
        slots: of this host, or of the engine's.
        arguments: of each `worker run`.
        screen: where it is shown.
        make_launcher: the engine, given what to do with a worker's line.

    Returns:
        The exit code: see `Supervisor.run`.
    """
    since = read_clock(store.engine)
    display = screen.open_display(_describe_studies(store, select))
    watched = _Watched(store, display, screen.tell, invent_family())
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
            for part in summarise_fleet(store, records, supervisor.states, watched.crashes, since):
                screen.tell(part)
            if exit_code == EXIT_DONE:
                return _tell_stopped(store, records, screen)
        except (SQLAlchemyError, StorageInternalError, AnomalyVFMOptError, OSError) as error:
            screen.tell(f"no summary: {str(error).splitlines()[0]}")
    return exit_code


def _tell_stopped(store: Store, records: Sequence[StudyRecord], screen: Screen) -> int:
    """Name the studies that were stopped, and return the exit code of a fleet whose workers ended well."""
    stopped = list_stopped(store, records)
    for record, state in stopped:
        screen.tell(f"{record.name} is stopped: {state.reason}")
    return EXIT_BUG if any(state.is_by_bugs for _, state in stopped) else EXIT_DONE


def invent_family() -> str:
    """Return the first part of the names of a fleet's workers; a process may run several fleets in turn."""
    return f"{platform.node()}-{os.getpid()}-{secrets.token_hex(2)}"


def _pass_on(supervisor: Supervisor, number: int, _frame: FrameType | None) -> None:
    """Pass on what is to end us to the workers, and end with the last of them."""
    passed_on = signal.SIGTERM if number == signal.SIGHUP else number  # which a worker of nohup does not hear
    supervisor.stop(passed_on, EXIT_CODES[signal.Signals(number)])


def _describe_studies(store: Store, select: Callable[[], list[StudyRecord]]) -> Callable[[], list[str]]:
    """Return lines such as `demo/brick 5/8 done, 2 running`, asked for every two seconds at most."""
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
            lines = [f"{r.name} {u.done}/{r.budget} done, {u.running} running" for r, u in usages]
        return lines

    return describe
