"""The supervisor with an engine that starts nothing: its workers end as the test says."""

import signal
from collections.abc import Sequence

import pytest

from anomalyvfm_opt.launch import restart
from anomalyvfm_opt.launch.base import Exit, Exits, Launcher, Slot
from anomalyvfm_opt.launch.supervise import SlotState, Supervisor


class Scripted:
    """Each start of a slot takes the slot's next exit code; a missing one runs until it is signalled."""

    def __init__(self, codes: dict[int, list[int]]) -> None:
        self.codes = codes
        self.started: list[list[str]] = []
        self.signals: list[int] = []
        self.exits = Exits()
        self._alive: list[Slot] = []

    def start(self, slot: Slot, arguments: Sequence[str]) -> None:
        self.started.append(list(arguments))
        if codes := self.codes[slot.number]:
            self.exits.add(Exit(slot, codes.pop(0)))
        else:
            self._alive.append(slot)

    def signal(self, number: int) -> None:
        self.signals.append(number)
        for slot in self._alive:
            self.exits.add(Exit(slot, 143))
        self._alive.clear()


def supervise(codes: dict[int, list[int]]) -> tuple[Supervisor, Scripted, list[str]]:
    engine: Launcher = (scripted := Scripted(codes))
    notes: list[str] = []

    def note(state: SlotState) -> None:
        notes.append(f"{state.slot.number} {state.note}")

    slots = [Slot(number, "cpu") for number in codes]
    return Supervisor(engine, slots, lambda slot, start: [f"{slot.number}.{start}"], note), scripted, notes


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "_FIRST_S", 0.0)


def test_workers_that_are_done_leave_their_slots_empty() -> None:
    supervisor, engine, notes = supervise({1: [0], 2: [0]})
    assert supervisor.run() == 0
    assert engine.started == [["1.1"], ["2.1"]]
    assert notes[-1] == "2 done"


def test_a_killed_worker_is_started_again_under_another_name() -> None:
    supervisor, engine, notes = supervise({1: [-9, 3, 0], 2: [0]})
    assert supervisor.run() == 0
    assert engine.started == [["1.1"], ["2.1"], ["1.2"], ["1.3"]]
    assert "1 killed by signal 9 after 0 s; started again in 0 s" in notes
    assert [state.restarts.total for state in supervisor.states] == [2, 0]


def test_a_mistake_in_the_usage_is_not_repeated_and_is_the_exit_code() -> None:
    supervisor, engine, notes = supervise({1: [2], 2: [0]})
    assert supervisor.run() == 2
    assert len(engine.started) == 2
    assert "1 exit 2; not started again" in notes


def test_a_worker_that_always_crashes_is_given_up() -> None:
    supervisor, engine, notes = supervise({1: [-11] * 10})
    assert supervisor.run() == 128 + 11
    assert len(engine.started) == 7
    assert notes[-1] == "1 killed by signal 11; not started again"


def test_a_signal_while_workers_are_started_reaches_them_and_starts_no_more() -> None:
    supervisor, engine, _ = supervise({1: [], 2: [], 3: []})
    start = engine.start

    def start_and_stop(slot: Slot, arguments: Sequence[str]) -> None:
        supervisor.stop(signal.SIGINT, 130)  # before the worker is there to be signalled
        start(slot, arguments)

    engine.start = start_and_stop  # type: ignore[method-assign]
    assert supervisor.run() == 130
    assert engine.started == [["1.1"]]
    assert engine.signals == [signal.SIGINT, signal.SIGINT]


def test_a_signal_is_passed_on_and_nothing_is_started_again() -> None:
    supervisor, engine, _ = supervise({1: [], 2: [-9, 0]})

    def stop_when_both_started(_states: Sequence[SlotState]) -> None:
        if not engine.signals:
            supervisor.stop(signal.SIGTERM, 143)

    supervisor._on_look = stop_when_both_started
    assert supervisor.run() == 143
    assert engine.signals == [signal.SIGTERM]
    assert all(state.note == "stopped" or not state.is_running for state in supervisor.states)
