"""What an engine can do: start a worker in a slot, say how it ended, pass a signal on. Nothing about trials."""

import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Slot:
    """A place for one worker at a time.

    Args:
        number: from 1.
        place: where it is, for people: `cpu`, `cuda:0`.
        environment: what its worker sees beside this process's own, such as CUDA_VISIBLE_DEVICES.
    """

    number: int
    place: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exit:
    """How a slot's worker ended.

    Args:
        slot: which is empty now.
        code: its exit code, or the negative number of the signal that killed it.
        loss: why the engine lost sight of it; empty if it saw it end. A lost worker may live for its last seconds.
    """

    slot: Slot
    code: int
    loss: str = ""

    def describe(self) -> str:
        """Return `exit 3`, `killed by signal 9`, or what was lost."""
        if self.loss:
            return self.loss
        return f"exit {self.code}" if self.code >= 0 else f"killed by signal {-self.code}"


class Exits:
    """The workers that have ended and that nobody was told of yet, in the order in which they ended.

    Any thread may add one.
    """

    def __init__(self) -> None:
        self._queue: queue.Queue[Exit] = queue.Queue()

    def add(self, ended: Exit) -> None:
        """Note that a worker has ended; after its last line."""
        self._queue.put(ended)

    def wait(self, timeout_s: float) -> Exit | None:
        """Return the next worker that has ended, once; None if none has within the time."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None


class Launcher(Protocol):
    """An engine that places worker processes."""

    @property
    def exits(self) -> Exits:
        """The workers that have ended."""

    def start(self, slot: Slot, arguments: Sequence[str]) -> None:
        """Start `anomalyvfm-opt worker run` with these arguments in an empty slot, now or when it has a place."""

    def signal(self, number: int) -> None:
        """Pass a signal on to all workers that live; called from a signal's handler, so it takes no lock."""
