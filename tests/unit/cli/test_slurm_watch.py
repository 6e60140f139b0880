"""Waiting for an array of jobs, with a queue that the test makes up."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anomalyvfm_opt.cli.fleet import slurm
from anomalyvfm_opt.errors import EXIT_INTERRUPTED, EXIT_TERMINATED

FOLDER = Path("/nowhere")


class Made:
    """A queue whose states are given look by look, and the results that are there at its end."""

    def __init__(self, looks: list[dict[str, str]], codes: list[int | None]) -> None:
        self.looks = looks
        self.codes = codes
        self.cancelled: list[str] = []
        self.handlers: dict[int, Callable[[int, None], Any]] = {}
        self.on_look: Callable[[], None] = lambda: None

    def read_queue(self, job_id: str) -> dict[str, str]:
        assert job_id == "17"
        self.on_look()
        return self.looks.pop(0) if self.looks else {}

    def read_codes(self) -> list[int | None]:
        return [None] * len(self.codes) if self.looks else self.codes


def watch(made: Made, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("anomalyvfm_opt.launch.slurm.read_queue", made.read_queue)
    monkeypatch.setattr("anomalyvfm_opt.launch.slurm.cancel", made.cancelled.append)
    monkeypatch.setattr(signal, "signal", lambda number, handler: made.handlers.update({number: handler}))
    monkeypatch.setattr(slurm, "_LOOK_S", 0.0)
    monkeypatch.setattr(slurm, "_FILES_S", 0.05)
    return slurm._Watch("17", made.read_codes, FOLDER).run()


def test_states_are_said_when_they_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pending, mixed = {"17_0": "PENDING", "17_1": "PENDING"}, {"17_0": "RUNNING", "17_1": "PENDING"}
    assert watch(Made([pending, pending, mixed, mixed, {"17_1": "RUNNING"}], [0, 0]), monkeypatch) == 0
    said = [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]
    assert said == ["2 PENDING", "1 PENDING, 1 RUNNING", "2 DONE, 1 RUNNING", "2 DONE"]


def test_the_first_bad_exit_is_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert watch(Made([], [0, 2, 3]), monkeypatch) == 2
    assert "1 DONE, 1 EXIT 2, 1 EXIT 3" in capsys.readouterr().err


def test_jobs_without_a_result_were_killed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert watch(Made([], [0, None]), monkeypatch) == EXIT_TERMINATED
    assert "1 of 2 jobs left no result: cancelled or killed; see /nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, EXIT_INTERRUPTED), (signal.SIGTERM, EXIT_TERMINATED)]
)
def test_what_ends_us_cancels_the_jobs_and_we_wait_for_them(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    made = Made([{"17_0": "RUNNING"}, {"17_0": "COMPLETING"}], [143])

    def interrupt_once() -> None:
        if not made.cancelled:
            made.handlers[number](number, None)

    made.on_look = interrupt_once
    assert watch(made, monkeypatch) == code
    assert made.cancelled == ["17"]
    assert made.looks == []
