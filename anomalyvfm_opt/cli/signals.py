"""SIGINT, SIGTERM and SIGUSR2: the first asks the worker to give its trial back, the second ends it at once."""

import os
import signal
from types import FrameType

from anomalyvfm_opt.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
from anomalyvfm_opt.trial.pulse import StopRequest

# USR2 is what batch systems send some time before they take the machine away
_EXIT_CODES = {
    signal.SIGINT: EXIT_INTERRUPTED,
    signal.SIGTERM: EXIT_TERMINATED,
    signal.SIGUSR2: EXIT_TERMINATED,
}
_NOTICE = b"stopping: the trial is given back at its next step; once more ends at once\n"


def heed_signals(stop: StopRequest) -> None:
    """Let the signals set a request; a second one ends the process, and its trial is found by a later reaper."""

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.give_back(_EXIT_CODES[signal.Signals(number)])
        for other in _EXIT_CODES:
            signal.signal(other, signal.SIG_DFL)
        os.write(2, _NOTICE)  # not print: a handler may come in the middle of another one

    for number in _EXIT_CODES:
        signal.signal(number, ask)
