"""SIGINT and SIGTERM: the first asks the worker to give its trial back, the second ends it at once."""

import os
import signal
from types import FrameType

from anomalyvfm_opt.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
from anomalyvfm_opt.trial.outcome import InterruptedTrialError

_EXIT_CODES = {signal.SIGINT: EXIT_INTERRUPTED, signal.SIGTERM: EXIT_TERMINATED}


_NOTICE = b"stopping: the trial is given back at its next step; once more ends at once\n"


class StopSignals:
    """Remembers that the process was asked to stop; `check` raises it where a trial can be given back."""

    def __init__(self) -> None:
        self._exit_code: int | None = None
        for number in _EXIT_CODES:
            signal.signal(number, self._remember)

    def check(self) -> None:
        """Raise if a signal came.

        Raises:
            InterruptedTrialError: with the exit code that belongs to the signal.
        """
        if self._exit_code is not None:
            raise InterruptedTrialError(self._exit_code)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self._exit_code = _EXIT_CODES[signal.Signals(number)]
        for other in _EXIT_CODES:
            signal.signal(other, signal.SIG_DFL)
        os.write(2, _NOTICE)  # not print: a handler may come in the middle of another one
