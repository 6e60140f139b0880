"""Runs one command for whoever holds our stdin, and has it end gracefully when that one is gone.

An engine may kill what it placed and that one's children without a word: Ray's workers, on their way out, send
SIGKILL to each of their children. So the command is a grandchild with a session of its own, and what reaches it is
a SIGTERM: from here when stdin closes (its holder died), from the kernel when this process is killed.
"""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from anomalyvfm_opt.errors import EXIT_TERMINATED
from anomalyvfm_opt.signals import hear

_PR_SET_PDEATHSIG = 1


def keep(command: Sequence[str]) -> int:
    """Run a command to its end; signals are passed on to it.

    Returns:
        Its exit code, or the negative number of the signal that killed it.
    """
    early: list[int] = []  # signals that came before there was a process to pass them on to
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if process is None:
            early.append(number)
        else:
            process.send_signal(number)

    hear(pass_on)
    process = subprocess.Popen(  # noqa: S603 - what our launcher said
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_tie_to(os.getpid()),  # safe: there is no other thread yet
    )
    for arrived in early:
        process.send_signal(arrived)
    threading.Thread(target=_watch_stdin, args=(process,), daemon=True).start()
    return process.wait()


def _tie_to(parent: int) -> Callable[[], None]:
    """Tie a new process to its parent: SIGTERM when that dies (Linux; see prctl(2))."""
    libc = ctypes.CDLL(None)

    def tie() -> None:
        if sys.platform == "linux":
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # which died before it was said
            os._exit(EXIT_TERMINATED)

    return tie


def _watch_stdin(process: "subprocess.Popen[bytes]") -> None:
    """Nobody ever writes to it: it ends when the other end's last holder does."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    process.send_signal(signal.SIGTERM)


def _end_as(code: int) -> None:
    """End as the command did, so that whoever waits for us sees the same."""
    if code >= 0:
        sys.exit(code)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one core file of one crash is enough
    with suppress(OSError, ValueError):  # SIGKILL has no handler to reset
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)


if __name__ == "__main__":
    _end_as(keep(sys.argv[1:]))
