"""The table of a fleet: in a narrow terminal only what a worker said last is cut."""

import io

import pytest
from rich.console import Console

from anomalyvfm_opt.cli.fleet.display import draw_slots
from anomalyvfm_opt.launch.base import Slot
from anomalyvfm_opt.launch.supervise import SlotState

LAST = {2: "demo/brick#confirm trial 6 completed; 0 of 7 trials left, and a great deal more of the same"}


@pytest.mark.parametrize("width", [48, 80, 200])
def test_only_the_last_line_is_cut(width: int) -> None:
    states = [SlotState(Slot(1, "cuda:0"), note="done"), SlotState(Slot(2, "cuda:1"), note="running")]
    stream = io.StringIO()
    Console(file=stream, width=width).print(draw_slots(states, LAST, width))
    head, first, second = stream.getvalue().splitlines()
    assert head.split() == ["slot", "place", "state", "restarts", "last", "line"]
    assert first.split() == ["1", "cuda:0", "done", "0"]
    assert second.split()[:4] == ["2", "cuda:1", "running", "0"]
    assert "demo/br" in second or width == 48
    assert second.rstrip().endswith("the same")  # the end says how far it is
    assert max(map(len, map(str.rstrip, stream.getvalue().splitlines()))) <= width
    assert (LAST[2] in second) is (width == 200)
    assert ("…" in second) is (width < 200)
