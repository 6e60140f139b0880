"""How far a running trial is: one line that changes in place on a terminal, a line now and then elsewhere."""

import math
import shutil
import sys
import threading
import time

from anomalyvfm_opt.cli.output import cut_middle, escape, say

_IN_PLACE_S = 0.5
_IN_LOGS_S = 10.0  # what watches a log, as `worker launch` does, hears of a trial that often
_CLEAR = "\r\x1b[K"


class ProgressLine:
    """Shows progress on stderr, no more often than is useful, and lines that stay.

    Args:
        is_in_place: whether the line is written over itself, as on a terminal.
    """

    def __init__(self, *, is_in_place: bool) -> None:
        self._is_in_place = is_in_place
        self._every_s = _IN_PLACE_S if is_in_place else _IN_LOGS_S
        self._shown_at = -math.inf
        self._is_open = False
        self._lock = threading.Lock()  # the pulse's thread says something too

    def show(self, line: str, *, is_new: bool = False) -> None:
        """Show how far it is, if the last time is long enough ago; on a terminal at once what is new."""
        with self._lock:
            is_due = time.monotonic() - self._shown_at >= self._every_s
            if not (is_due or (is_new and self._is_in_place)):
                return
            self._shown_at = time.monotonic()
            if self._is_in_place:
                self._is_open = True
                width = shutil.get_terminal_size().columns
                shown = cut_middle(escape(line, sys.stderr.encoding), width - 1)
                self._write(_CLEAR + escape(shown, sys.stderr.encoding))  # once more: of the mark of the cut
            else:
                say(line)

    def say(self, line: str) -> None:
        """Write a line that stays, in place of the one that shows how far it is."""
        with self._lock:
            self.close()
            say(line)

    def close(self) -> None:
        """Take the line away that shows how far it is."""
        if self._is_open:
            self._is_open = False
            self._write(_CLEAR)

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
