"""Workers as processes of this host."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from anomalyvfm_opt.launch.base import Exit, Exits, Slot

# Without -P, Python imports from the folder that somebody happened to be in: a `random.py` there would be run.
_MODULE = ("-P", "-m")


class LocalLauncher:
    """Starts workers as children of this process.

    Each has a process group of its own, so that Ctrl-C reaches it once, from us: a second one would end it.

    Args:
        on_line: told of each line that a worker writes, from a thread of that worker's own.
        is_tied: workers give their trials back and end when this process dies, however it dies; else they go on.
    """

    def __init__(self, on_line: Callable[[Slot, str], None], is_tied: bool = False) -> None:
        self._on_line = on_line
        self._is_tied = is_tied
        self.exits = Exits()
        self._processes: dict[int, subprocess.Popen[str]] = {}

    def start(self, slot: Slot, arguments: Sequence[str]) -> None:
        """Start a worker in an empty slot."""
        command = [sys.executable, *_MODULE, "anomalyvfm_opt", "worker", "run", *arguments]
        if self._is_tied:
            command = [sys.executable, *_MODULE, "anomalyvfm_opt.launch.keeper", *command]
        process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            env={**os.environ, **slot.environment},
            stdin=subprocess.PIPE if self._is_tied else subprocess.DEVNULL,  # the keeper watches it
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        )
        self._processes[slot.number] = process
        threading.Thread(target=self._follow, args=(slot, process), daemon=True).start()

    def signal(self, number: int) -> None:
        """Pass a signal on to all workers that live."""
        for process in list(self._processes.values()):
            process.send_signal(number)  # which does nothing to one that has ended

    def _follow(self, slot: Slot, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            for line in process.stdout:
                with suppress(OSError):  # nobody may read ours any more; the worker's must be read all the same
                    self._on_line(slot, line.rstrip("\n"))
        finally:
            self.exits.add(Exit(slot, process.wait()))
