"""What a launcher's lines look like where stderr is no terminal."""

import pytest

from anomalyvfm_opt.cli.fleet.display import Lines, open_display
from anomalyvfm_opt.launch.base import Slot
from anomalyvfm_opt.launch.supervise import SlotState


def test_each_line_has_its_slots_number(capsys: pytest.CaptureFixture[str]) -> None:
    display = open_display(list)
    assert isinstance(display, Lines)
    display.show_line(Slot(2, "cpu"), "worker w on cpu")
    assert capsys.readouterr().err == "[2] worker w on cpu\n"


@pytest.mark.parametrize(
    ("note", "starts", "is_shown"), [("running", 1, False), ("running", 2, True), ("exit 3", 1, True)]
)
def test_a_first_start_shows_itself(
    capsys: pytest.CaptureFixture[str], note: str, starts: int, is_shown: bool
) -> None:
    Lines().show_note(SlotState(Slot(1, "cpu"), starts=starts, note=note))
    assert capsys.readouterr().err == (f"[1] {note}\n" if is_shown else "")
