"""Keep slots filled: start workers, start crashed ones again with a growing pause, pass signals on.

The same for every engine. A worker that died loses nothing: its trial is found by the next one that lives.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from anomalyvfm_opt.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_TERMINATED
from anomalyvfm_opt.launch.base import Exit, Launcher, Slot
from anomalyvfm_opt.launch.restart import Restarts

_LOOK_S = 0.2
_STOPPED = (EXIT_INTERRUPTED, EXIT_TERMINATED)


@dataclass
class SlotState:
    """The state of a slot, which `note` tells to people. Of a lost worker nobody knows yet that it is dead."""

    slot: Slot
    restarts: Restarts = field(default_factory=Restarts)
    starts: int = 0
    started_at: float = 0.0
    start_again_at: float | None = None
    is_running: bool = False
    last_code: int | None = None
    is_lost: bool = False
    note: str = "starting"


class Supervisor:
    """Fills slots until every worker has come to its end.

    Args:
        launcher: the engine.
        slots: to fill.
        name_worker: gives a slot's next worker, by its count of starts, the arguments of `worker run`.
        on_note: told whenever a slot's note has changed.
        on_look: called a few times a second.
    """

    def __init__(
        self,
        launcher: Launcher,
        slots: Sequence[Slot],
        name_worker: Callable[[Slot, int], list[str]],
        on_note: Callable[[SlotState], None],
        on_look: Callable[[Sequence[SlotState]], None] = lambda _: None,
    ) -> None:
        self._launcher = launcher
        self._name_worker = name_worker
        self._on_note = on_note
        self._on_look = on_look
        self._stop_signal = 0
        self._stop_code: int | None = None
        self.states = [SlotState(slot) for slot in slots]

    def stop(self, signal_number: int, exit_code: int) -> None:
        """Pass a signal on and start nothing again; to be called from a signal's handler."""
        self._stop_signal, self._stop_code = signal_number, exit_code
        self._launcher.signal(signal_number)

    def run(self) -> int:
        """Fill the slots until all are empty for good.

        Returns:
            0 if every worker's last exit was 0; what `stop` was told; else the first other exit code, and 128 + n
            for a worker that signal n killed.
        """
        for state in self.states:
            if self._stop_code is None:
                self._start(state)
        while any(state.is_running or state.start_again_at is not None for state in self.states):
            ended = self._launcher.exits.wait(_LOOK_S)
            if ended is not None:
                self._note_exit(ended)
            for state in self.states:
                if state.start_again_at is not None and self._stop_code is not None:
                    state.start_again_at = None
                elif state.start_again_at is not None and time.monotonic() >= state.start_again_at:
                    self._start(state)
            self._on_look(self.states)
        return self._find_exit_code()

    def _start(self, state: SlotState) -> None:
        state.starts += 1
        state.start_again_at = None
        state.started_at = time.monotonic()
        self._launcher.start(state.slot, self._name_worker(state.slot, state.starts))
        state.is_running = True
        if self._stop_code is not None:  # which came while it was started
            self._launcher.signal(self._stop_signal)
        self._say(state, "running")

    def _note_exit(self, ended: Exit) -> None:
        state = next(state for state in self.states if state.slot == ended.slot)
        state.is_running, state.last_code, state.is_lost = False, ended.code, bool(ended.loss)
        lived_s = time.monotonic() - state.started_at
        pause_s = state.restarts.plan(ended.code, lived_s) if self._stop_code is None else None
        if ended.code == EXIT_DONE:
            self._say(state, "done")
        elif pause_s is not None:
            state.start_again_at = time.monotonic() + pause_s
            self._say(state, f"{ended.describe()} after {lived_s:.0f} s; started again in {pause_s:.0f} s")
        elif ended.code in _STOPPED or self._stop_code is not None:
            self._say(state, "stopped")
        else:
            self._say(state, f"{ended.describe()}; not started again")

    def _say(self, state: SlotState, note: str) -> None:
        state.note = note
        self._on_note(state)

    def _find_exit_code(self) -> int:
        if self._stop_code is not None:
            return self._stop_code
        codes = [state.last_code or 0 for state in self.states]
        return next((code if code > 0 else 128 - code for code in codes if code), EXIT_DONE)
