"""Waiting for an array of jobs, with a queue that the test makes up."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anomalyvfm_opt.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, EnvironmentMissingError
from anomalyvfm_opt.launch import slurm_watch
from anomalyvfm_opt.launch.slurm_watch import Watch

FOLDER = Path("/nowhere")
AWAY: dict[str, str] = {"no": "answer"}


class Made:
    """A queue whose states are given look by look, and the results that are there at its end."""

    def __init__(self, looks: list[dict[str, str]], codes: list[int | None]) -> None:
        self.looks = looks
        self.codes = codes
        self.cancelled: list[str] = []
        self.said: list[str] = []
        self.is_heard = True
        self.handlers: dict[int, Callable[[int, None], Any]] = {}
        self.on_look: Callable[[], None] = lambda: None

    def read_queue(self, job_id: str) -> dict[str, str]:
        assert job_id == "17"
        self.on_look()
        look = self.looks.pop(0) if self.looks else {}
        if look is AWAY:
            raise EnvironmentMissingError("Slurm does not answer: connect failure", "try `sinfo`")
        return look

    def cancel(self, job_id: str) -> bool:
        self.cancelled.append(job_id)
        return self.is_heard

    def read_codes(self) -> list[int | None]:
        return [None] * len(self.codes) if self.looks else self.codes


def watch(made: Made, monkeypatch: pytest.MonkeyPatch, outage_s: float = 60.0) -> int:
    monkeypatch.setattr("anomalyvfm_opt.launch.slurm_watch.read_queue", made.read_queue)
    monkeypatch.setattr("anomalyvfm_opt.launch.slurm_watch.cancel", made.cancel)
    monkeypatch.setattr(signal, "signal", lambda number, handler: made.handlers.update({number: handler}))
    monkeypatch.setattr(slurm_watch, "_LOOK_S", 0.0)
    monkeypatch.setattr(slurm_watch, "_FILES_S", 0.05)
    return Watch("17", made.read_codes, FOLDER, outage_s, made.said.append).run()


def test_states_are_said_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    pending, mixed = {"17_0": "PENDING", "17_1": "PENDING"}, {"17_0": "RUNNING", "17_1": "PENDING"}
    made = Made([pending, pending, mixed, mixed, {"17_1": "RUNNING"}], [0, 0])
    assert watch(made, monkeypatch) == 0
    said = [line.partition(" ")[2] for line in made.said]
    assert said == ["2 PENDING", "1 PENDING, 1 RUNNING", "2 DONE, 1 RUNNING", "2 DONE"]


def test_the_first_bad_exit_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made([], [0, 2, 3])
    assert watch(made, monkeypatch) == 2
    assert made.said[-1].endswith(" 1 DONE, 1 EXIT 2, 1 EXIT 3")


def test_jobs_without_a_result_were_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made([], [0, None])
    assert watch(made, monkeypatch) == EXIT_TERMINATED
    assert made.said[-1] == "1 of 2 jobs left no result: cancelled or killed; see /nowhere"


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


def test_a_controller_that_is_away_for_a_while_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    running = {"17_0": "RUNNING"}
    made = Made([running, AWAY, AWAY, running, AWAY], [0])
    assert watch(made, monkeypatch) == 0
    assert sum("the jobs go on without it" in line for line in made.said) == 2  # once an outage


def test_one_that_stays_away_is_given_up_and_the_jobs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentMissingError, match=r"connect failure, for 0 s .*squeue --jobs=17"):
        watch(Made([{"17_0": "RUNNING"}, AWAY], [None]), monkeypatch, outage_s=0.0)


def test_a_controller_that_is_away_does_not_keep_us(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made([AWAY, AWAY, AWAY], [None])
    made.is_heard = False
    made.on_look = lambda: made.cancelled or made.handlers[signal.SIGINT](signal.SIGINT, None)
    assert watch(made, monkeypatch) == EXIT_INTERRUPTED
    assert "the jobs go on: Slurm did not take scancel 17; repeat it" in made.said
