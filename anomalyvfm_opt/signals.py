"""The signals that ask a process to end, and who hears them."""

import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

from anomalyvfm_opt.errors import EXIT_INTERRUPTED, EXIT_TERMINATED

Handler = Callable[[int, FrameType | None], None]

# USR2 is what batch systems send some time before they take the machine away
EXIT_CODES = {
    signal.SIGINT: EXIT_INTERRUPTED,
    signal.SIGTERM: EXIT_TERMINATED,
    signal.SIGUSR2: EXIT_TERMINATED,
    signal.SIGHUP: EXIT_TERMINATED,  # the terminal was closed, or the process group lost its parent
}


def hear(handler: Handler, numbers: Collection[signal.Signals] = EXIT_CODES.keys()) -> None:
    """Have a handler called for signals from now on; not for SIGHUP where `nohup` had it ignored."""
    for number in filter(_is_heard, numbers):
        signal.signal(number, handler)


def end_as_interrupted() -> None:
    """Have signals end this process as Ctrl-C would from now on, so that what is half made is removed."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(EXIT_CODES[signal.Signals(number)])

    hear(end, EXIT_CODES.keys() - {signal.SIGINT})


@contextmanager
def heard(handler: Handler) -> Iterator[None]:
    """Have a handler called for these signals within a `with`; afterwards they do again what they did before."""
    before = {number: signal.getsignal(number) for number in EXIT_CODES}
    hear(handler)
    try:
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)


def _is_heard(number: signal.Signals) -> bool:
    return number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
