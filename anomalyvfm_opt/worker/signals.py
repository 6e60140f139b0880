"""Signals that end a worker: the first asks it to give its trial back, the second ends it at once."""

import os
import signal
import time
from contextlib import suppress
from types import FrameType

from anomalyvfm_opt.signals import EXIT_CODES, hear
from anomalyvfm_opt.trial.pulse import StopRequest

_SAME_S = 1.0
_NOTICE = b"stopping: a trial that runs is given back at its next step; once more ends at once\n"
_AT_ONCE = b"stopping\n"
_CLEAR_LINE = b"\r\x1b[K"  # on a terminal, how far the trial is stands there


def heed_signals(stop: StopRequest) -> None:
    """Let the signals set a request; a second one ends the process, and its trial is found by a later reaper.

    Where the request says so, one is heard at once: as an `InterruptedTrialError`, wherever the main thread is.
    A second one that comes at once is the first: systemd and batch systems signal every process of a group, and
    `worker launch` passes its own on.
    """
    asked_at: list[float] = []
    before = _CLEAR_LINE if os.isatty(2) else b""

    def ask(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if asked_at and now - asked_at[0] > _SAME_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not asked_at:
            asked_at.append(now)
            stop.give_back(EXIT_CODES[signal.Signals(number)])
            is_heard_at_once = stop.is_heard_at_once
            with suppress(OSError):  # nobody may read it any more
                # not print: a handler may come in the middle of another one
                os.write(2, before + (_AT_ONCE if is_heard_at_once else _NOTICE))
            if is_heard_at_once:
                stop.check()

    hear(ask)
