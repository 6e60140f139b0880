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
    """How a slot's worker ended: its exit code, or the negative number of the signal that killed it."""

    slot: Slot
    code: int

    def describe(self) -> str:
        """`exit 3`, or `killed by signal 9`."""
        return f"exit {self.code}" if self.code >= 0 else f"killed by signal {-self.code}"


class Launcher(Protocol):
    """An engine that places worker processes."""

    def start(self, slot: Slot, arguments: Sequence[str]) -> None:
        """Start `anomalyvfm-opt worker run` with these arguments in an empty slot."""

    def wait(self, timeout_s: float) -> Exit | None:
        """The next worker that has ended; None if none has within the time."""

    def signal(self, number: int) -> None:
        """Pass a signal on to all workers that live."""
