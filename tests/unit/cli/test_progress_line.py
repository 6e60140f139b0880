"""How far a trial is: a line that is written over itself on a terminal, and one now and then in a log."""

import io
import os
import sys
from unittest.mock import patch

import pytest

from anomalyvfm_opt.cli.fleet.display import LiveTable
from anomalyvfm_opt.cli.progress_line import ProgressLine
from anomalyvfm_opt.launch.base import Slot

_TIME = "anomalyvfm_opt.cli.progress_line.time"


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_log_gets_a_line_every_ten_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with patch(_TIME, clock):
        line = ProgressLine(is_in_place=False)
        for second in range(35):
            clock.now = 100.0 + second
            line.show(f"at {second} s")
        line.say("it is over")
    assert capsys.readouterr().err.splitlines() == ["at 0 s", "at 10 s", "at 20 s", "at 30 s", "it is over"]


def test_a_terminal_has_one_line_that_gives_way_to_what_stays(clock: Clock) -> None:
    screen = io.StringIO()
    size = os.terminal_size((20, 24))
    with patch(_TIME, clock), patch.object(sys, "stderr", screen), patch("shutil.get_terminal_size", lambda: size):
        line = ProgressLine(is_in_place=True)
        for moment, text, is_new in (
            (0.6, "short", False),
            (0.7, "too soon", False),
            (0.8, "new", True),
            (1.4, "much longer than the terminal", False),
        ):
            clock.now = 100.0 + moment
            line.show(text, is_new=is_new)
        line.say("trial 1 completed")
        line.close()
    assert screen.getvalue() == "\r\x1b[Kshort\r\x1b[Knew\r\x1b[Kmuch l…the terminal\r\x1b[Ktrial 1 completed\n"


def test_progress_stays_in_its_row_of_the_fleets_table(capsys: pytest.CaptureFixture[str]) -> None:
    table = LiveTable(list)
    try:
        table.show_line(Slot(1, "cpu"), "x/tile trial 3, search: epoch 2/10, loss 0.5000, 12 s")
        table.show_line(Slot(2, "cpu"), "x/tile trial 2 completed 0.8000")
        assert set(table._last) == {1, 2}
    finally:
        table.close()
    err = capsys.readouterr().err
    assert "[2] x/tile trial 2 completed 0.8000" in err
    assert "[1] x/tile" not in err
