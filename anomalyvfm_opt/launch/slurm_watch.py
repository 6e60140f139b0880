"""Waits for the jobs that were submitted to Slurm: they do not need this process, but it tells how they fare."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import FrameType

from anomalyvfm_opt.errors import EXIT_DONE, EXIT_TERMINATED, EnvironmentMissingError
from anomalyvfm_opt.launch.slurm import cancel, read_queue
from anomalyvfm_opt.signals import EXIT_CODES, hear
from anomalyvfm_opt.words import counted

_LOOK_S = 2.0
_FILES_S = 60.0  # a result may be seen this late on a network file system


class Watch:
    """Waits for an array, says how its tasks' states change, and cancels it when this process is to end.

    Args:
        job_id: of the array.
        read_codes: the exit codes of its tasks so far.
        folder: of their logs.
        outage_s: how long Slurm may be silent; the jobs do not need this process.
        say: told of each change, in a line.
    """

    def __init__(
        self,
        job_id: str,
        read_codes: Callable[[], list[int | None]],
        folder: Path,
        outage_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._outage_s = outage_s
        self._say = say
        self._silent_since: float | None = None
        self._job_id = job_id
        self._read_codes = read_codes
        self._folder = folder
        self._stop_code: int | None = None

    def run(self) -> int:
        """Watch until no task is in the queue.

        Returns:
            0 if all workers ended with 0; else the first other exit code, or that of what ended this process.

        Raises:
            EnvironmentMissingError: Slurm does not answer for too long.
        """
        hear(self._stop)
        said = ""
        while True:
            states = self._read_queue()
            if states is None:
                if self._stop_code is not None:
                    return self._stop_code
                time.sleep(_LOOK_S)
                continue
            codes = self._read_codes()
            counts = Counter(states.values())
            counts.update("DONE" if code == EXIT_DONE else f"EXIT {code}" for code in codes if code is not None)
            line = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
            if line != said:
                self._say(f"{datetime.now():%H:%M:%S} {line}")
                said = line
            if not states:
                return self._finish()
            time.sleep(_LOOK_S)

    def _read_queue(self) -> dict[str, str] | None:
        """Return the states of the array's tasks; None while Slurm does not answer.

        Raises:
            EnvironmentMissingError: it has not for too long.
        """
        try:
            states = read_queue(self._job_id)
        except EnvironmentMissingError as error:
            now = time.monotonic()
            if self._silent_since is None:
                self._silent_since = now
                self._say(f"{error.message}; the jobs go on without it")
            if now - self._silent_since < self._outage_s:
                return None
            raise EnvironmentMissingError(
                f"{error.message}, for {self._outage_s:.0f} s",
                f"the jobs go on; see them: squeue --jobs={self._job_id}, and their logs in {self._folder}",
            ) from None
        self._silent_since = None
        return states

    def _finish(self) -> int:
        deadline = time.monotonic() + (_FILES_S if self._stop_code is None else 0.0)
        while None in (codes := self._read_codes()) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        if self._stop_code is not None:
            return self._stop_code
        if lost := codes.count(None):
            jobs = counted(len(codes), "job")
            self._say(f"{lost} of {jobs} left no result: cancelled or killed; see {self._folder}")
        return next((code for code in codes if code), EXIT_TERMINATED if lost else EXIT_DONE)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stop_code = self._stop_code or EXIT_CODES[signal.Signals(number)]
        if not cancel(self._job_id):
            self._say(f"the jobs go on: Slurm did not take scancel {self._job_id}; repeat it")
