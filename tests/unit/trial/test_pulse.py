"""The thread that must live: whatever a beat raises, and what becomes of the worker when it cannot go on."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import psycopg2
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from anomalyvfm_opt.store.leases import Lease
from anomalyvfm_opt.store.workers import Answer
from anomalyvfm_opt.trial import pulse as module
from anomalyvfm_opt.trial.outcome import InterruptedTrialError, Outcome
from anomalyvfm_opt.trial.pulse import Pulse, StopRequest, Times

QUICK = Times(grace_s=0.3, hang_s=60.0, drain_s=60.0)  # a beat each 0.05 s
AWAY = OperationalError("SELECT", {}, psycopg2.OperationalError("server closed the connection unexpectedly"))


class Dead(BaseException):
    """What no loop may survive."""


def make_pulse(times: Times = QUICK, die: Callable[[], None] = lambda: None) -> tuple[Pulse, StopRequest]:
    stop = StopRequest()
    return Pulse(cast(Engine, None), "w1", times, stop, die), stop


def answer_with(monkeypatch: pytest.MonkeyPatch, *answers: BaseException | Answer) -> list[int]:
    """One answer after the other; the last one stays."""
    beats: list[int] = []

    def beat(*_: Any) -> Answer:
        answer = answers[min(len(beats), len(answers) - 1)]
        beats.append(len(beats))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(module, "beat", beat)
    return beats


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError("no such host"), AWAY], ids=repr)
def test_whatever_a_beat_raises_the_next_one_comes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    beats = answer_with(monkeypatch, error, error, Answer(has_lease=True, drain="now"))
    died: list[bool] = []
    pulse, stop = make_pulse(die=lambda: died.append(True))
    with caplog.at_level(logging.WARNING), pulse.hold(Lease(1), lambda *_: None) as hold:
        wait_for(lambda: len(beats) >= 3)
        wait_for(lambda: stop.waited_s() > 0)
        with pytest.raises(InterruptedTrialError):
            hold.check()  # so the third beat was heard
    assert died == []
    failed = [record for record in caplog.records if "heartbeat failed, will be tried again" in record.message]
    assert len(failed) == 2
    assert all(bool(record.exc_info) is (error is not AWAY) for record in failed)  # a bug comes with its traceback


def test_a_worker_whose_pulse_ends_ends_as_well(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer_with(monkeypatch, Dead())
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    died = threading.Event()
    pulse, _ = make_pulse(die=died.set)
    with caplog.at_level(logging.CRITICAL), pulse:
        assert died.wait(10)
    assert "the heartbeat cannot go on" in caplog.text
    assert "Dead" in caplog.text


def test_a_worker_that_cannot_give_a_hung_trial_back_ends_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would beat for a trial that nobody gets on with."""
    answer_with(monkeypatch, Answer(has_lease=True, drain=""))
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def fail(_outcome: Outcome, _message: str) -> None:
        raise RuntimeError("a bug")

    died = threading.Event()
    pulse, _ = make_pulse(Times(grace_s=0.3, hang_s=0.1), died.set)
    with pulse.hold(Lease(1), fail):
        assert died.wait(10)


def test_a_pulse_that_is_no_longer_needed_lets_the_worker_live(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, Answer(has_lease=True, drain=""))
    died: list[bool] = []
    pulse, _ = make_pulse(die=lambda: died.append(True))
    for _ in range(2):
        with pulse:
            time.sleep(0.1)
    assert died == []
