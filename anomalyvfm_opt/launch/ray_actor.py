"""What runs in an actor of Ray, on whatever node it was placed: one worker process, kept or supervised.

Nothing here imports Ray but what ends a detached actor: Ray makes actors of these classes from outside.
"""

import os
import queue
import secrets
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from anomalyvfm_opt.launch.base import Slot
from anomalyvfm_opt.launch.local import LocalLauncher
from anomalyvfm_opt.launch.supervise import SlotState, Supervisor

_READ_S = 0.5
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class HeldWorker:
    """One worker process for a launcher elsewhere, which reads its lines, passes signals on and hears of its end.

    It is called from two threads: `read` waits in one while `signal` comes in another.
    """

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._code: int | None = None
        self._local = LocalLauncher(lambda _, line: self._lines.put(line), is_tied=True)

    def start(self, slot: Slot, arguments: Sequence[str]) -> str:
        """Start the worker.

        Returns:
            Where that is, for people.
        """
        self._local.start(_at_home(slot), arguments)
        return _describe_place()

    def read(self) -> tuple[list[str], int | None]:
        """Return the lines since the last call, and the exit code after the last of them.

        An answer may get lost on its way: then some lines are, but not the exit code.
        """
        ended = self._local.exits.wait(_READ_S) if self._code is None else None
        if ended is not None:
            self._code = ended.code
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get())
        return lines, self._code

    def signal(self, number: int) -> None:
        """Pass a signal on to the worker."""
        self._local.signal(number)


class DetachedWorker:
    """One worker process that nobody watches from outside: started again here when it crashes.

    The actor ends with its last worker. An actor whose process or node died is placed anew by Ray.

    Args:
        slot: with the environment that the node does not set itself.
        arguments: of `worker run`, without the name.
        family: first part of the workers' names.
    """

    def __init__(self, slot: Slot, arguments: Sequence[str], family: str) -> None:
        self._slot = _at_home(slot)
        self._arguments = list(arguments)
        self._life = f"{family}-{slot.number}-{secrets.token_hex(2)}"  # another one after each placing
        threading.Thread(target=self._serve, daemon=True).start()

    def place(self) -> str:
        """Return where that is, for people."""
        return _describe_place()

    def _serve(self) -> None:
        launcher = LocalLauncher(_print_line, is_tied=True)
        try:
            Supervisor(launcher, [self._slot], self._name_worker, _print_note).run()
        finally:
            _end_this_actor()

    def _name_worker(self, _slot: Slot, start: int) -> list[str]:
        return [*self._arguments, "--name", f"{self._life}.{start}"]


def _at_home(slot: Slot) -> Slot:
    """Leave out what the node sets itself, which is better known there."""
    environment: Mapping[str, str] = {k: v for k, v in slot.environment.items() if k not in os.environ}
    return replace(slot, environment=environment)


def _describe_place() -> str:
    visible = os.environ.get(_VISIBLE, "")
    return f"on {os.uname().nodename}, {f'GPU {visible}' if visible else 'no GPU'}"


def _print_line(slot: Slot, line: str) -> None:
    """Into the actor's log, which Ray keeps."""
    print(f"[{slot.number}] {line}", file=sys.stderr, flush=True)


def _print_note(state: SlotState) -> None:
    _print_line(state.slot, state.note)


def _end_this_actor() -> None:
    """End this actor for good: one whose process merely ends would be placed again."""
    import ray

    ray.kill(ray.get_runtime_context().current_actor, no_restart=True)
