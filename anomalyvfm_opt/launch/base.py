"""What an engine can do: start a worker in a slot, say how it ended, pass a signal on. Nothing about trials."""

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
        """`exit 3`, `killed by signal 9`, or what was lost."""
        if self.loss:
            return self.loss
        return f"exit {self.code}" if self.code >= 0 else f"killed by signal {-self.code}"


class Launcher(Protocol):
    """An engine that places worker processes."""

    def start(self, slot: Slot, arguments: Sequence[str]) -> None:
        """Start `anomalyvfm-opt worker run` with these arguments in an empty slot, now or when it has a place."""

    def wait(self, timeout_s: float) -> Exit | None:
        """The next worker that has ended; None if none has within the time."""

    def signal(self, number: int) -> None:
        """Pass a signal on to all workers that live; called from a signal's handler, so it takes no lock."""
