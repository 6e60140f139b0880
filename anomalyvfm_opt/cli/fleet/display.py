"""What a person sees of several workers at once: lines with the slot's number, or one table in a terminal."""

import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from anomalyvfm_opt.cli.output import cut_middle, escape, say
from anomalyvfm_opt.launch.base import Slot
from anomalyvfm_opt.launch.supervise import SlotState
from anomalyvfm_opt.worker.fleet import Display

_GAP = 2  # blanks between columns
_UNDER_WAY = re.compile(r" trial \d+, ")  # how far one is, see `describe_underway`: it stays in its slot's row


class Lines:
    """Each worker's lines as they come, for logs and pipes."""

    def show_line(self, slot: Slot, line: str) -> None:
        """Show the line behind its slot's number, as `[1] ...`."""
        say(f"[{slot.number}] {line}")

    def show_note(self, state: SlotState) -> None:
        """Show a restart or an end; a first start shows itself by its own lines."""
        if state.note != "running" or state.starts > 1:
            say(f"[{state.slot.number}] {state.note}")

    def refresh(self, states: Sequence[SlotState]) -> None:
        """Do nothing: lines are shown when they come."""

    def close(self) -> None:
        """Do nothing: lines are shown when they come."""


class LiveTable:
    """A row a slot with its worker's last line, and a line a study; what matters scrolls above it.

    Args:
        describe_studies: a line for each study.
    """

    def __init__(self, describe_studies: Callable[[], list[str]]) -> None:
        self._describe_studies = describe_studies
        self._last: dict[int, str] = {}
        self._lock = threading.Lock()
        self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
        self._live.start()

    def show_line(self, slot: Slot, line: str) -> None:
        """Show the line in its slot's row; ends of trials, warnings and errors also stay above the table."""
        with self._lock:
            self._last[slot.number] = line
        if (" trial " in line and not _UNDER_WAY.search(line)) or line.startswith(("error", "warning", "hint")):
            self._print(f"[{slot.number}] {line}")

    def show_note(self, state: SlotState) -> None:
        """Show the note in its slot's row; a crash also stays above the table."""
        if state.last_code:
            self._print(f"[{state.slot.number}] {state.note}")

    def refresh(self, states: Sequence[SlotState]) -> None:
        """Draw the table anew."""
        with self._lock:
            table = draw_slots(states, self._last, self._live.console.width)
        self._live.update(Group(table, *(Text(escape(line)) for line in self._describe_studies())))

    def close(self) -> None:
        """Leave the terminal as it was."""
        with suppress(OSError):  # it was closed
            self._live.stop()

    def _print(self, line: str) -> None:
        with suppress(OSError):  # likewise: work goes on without it
            self._live.console.print(Text(escape(line)))


def draw_slots(states: Sequence[SlotState], last: Mapping[int, str], width: int) -> Table:
    """Return a row a slot, of which in a narrow terminal the last line alone is cut.

    Args:
        states: of the slots.
        last: the last line of each slot's worker, by its number.
        width: of the terminal (characters).
    """
    heads = ("slot", "place", "state", "restarts")
    rows = [
        [str(state.slot.number), state.slot.place, escape(state.note), str(state.restarts.total)]
        for state in states
    ]
    taken = sum(max(map(len, column)) + _GAP for column in zip(heads, *rows, strict=True))
    room = max(len("last line"), width - taken - _GAP)
    table = Table(box=None, padding=(0, _GAP, 0, 0))
    for head in (*heads, "last line"):
        table.add_column(head, no_wrap=True)
    for state, row in zip(states, rows, strict=True):
        line = cut_middle(escape(last.get(state.slot.number, "")), room)
        table.add_row(*map(Text, (*row, line)))
    return table


def open_display(describe_studies: Callable[[], list[str]]) -> Display:
    """Return the table where stderr is a terminal, else lines."""
    return LiveTable(describe_studies) if sys.stderr.isatty() else Lines()
