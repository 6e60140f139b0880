"""A worker's pulse on a real PostgreSQL: what it keeps alive, what it hears, and trials that no longer answer."""

import threading
import time
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from sqlalchemy import text

from anomalyvfm_opt.store.workers import (
    WorkerIdentity,
    bury_worker,
    end_worker,
    forget_workers,
    list_workers,
    register_worker,
    request_drain,
)
from anomalyvfm_opt.trial.loop import Turn
from anomalyvfm_opt.trial.outcome import InterruptedTrialError, Outcome
from anomalyvfm_opt.trial.pulse import StopRequest, Times
from anomalyvfm_opt.trial.reap import MAX_LOSSES, reap
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from anomalyvfm_opt.trial.settle import Ended
from tests.integration.conftest import Bench, run_quickly
from tests.integration.trial_states import count_leases, expire_leases, read_outcomes, run_to_end, states

QUICK = Times(grace_s=1.2, hang_s=60.0, drain_s=60.0, outage_s=10.0)


class Left(BaseException):
    """Stands for the end of the process, which a test must not have."""


class Hanging:
    """A trial that takes no step until the test lets it go, on a worker whose end is noted."""

    def __init__(self, bench: Bench, times: Times, stop: StopRequest | None = None) -> None:
        self.codes: list[int] = []
        self.reasons: list[str] = []
        self.ended: list[Ended] = []
        self._free = threading.Event()
        self.started = threading.Event()
        self.loop = bench.loop(self._hang, stop=stop, ended=self.ended, times=times, leave=self._leave)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _hang(self, request: TrialRequest, progress: Progress) -> TrialResult:
        self.started.set()
        self._free.wait(30)
        return run_quickly(request, progress)

    def _leave(self, exit_code: int, message: str) -> NoReturn:
        self.codes.append(exit_code)
        self.reasons.append(message)
        self._free.set()
        raise Left

    def _run(self) -> None:
        self.loop.take_turn()

    def run(self) -> None:
        self.thread.start()
        self.started.wait(10)
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture(autouse=True)
def _quiet_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # `Left`, where os._exit would have ended it


def identity(name: str) -> WorkerIdentity:
    return WorkerIdentity(name, "host", 1, "cpu", "0")


def test_a_trial_that_hangs_is_given_back_and_its_worker_ends_with_exit_3(bench: Bench) -> None:
    hanging = Hanging(bench, Times(grace_s=6.0, hang_s=1.0))
    hanging.run()
    assert hanging.codes == [3]
    assert [end.outcome for end in hanging.ended] == [Outcome.HUNG, Outcome.FENCED]  # it woke up too late
    assert "no step for" in hanging.ended[0].message
    assert states(bench) == ["FAIL", "WAITING"]
    run_to_end(bench.loop())
    assert states(bench).count("COMPLETE") == 6


def test_a_trial_that_always_hangs_is_failed_in_the_end(bench: Bench) -> None:
    for _ in range(MAX_LOSSES):
        Hanging(bench, Times(grace_s=6.0, hang_s=0.6)).run()
    assert states(bench) == ["FAIL"] * MAX_LOSSES
    assert read_outcomes(bench)[-1] == ("hung", True)


def test_a_worker_whose_hung_trial_was_taken_over_ends_as_well(bench: Bench) -> None:
    """Else it would beat for ever, with a trial in its hands that nobody wants any more."""
    hanging = Hanging(bench, Times(grace_s=6.0, hang_s=1.0))
    hanging.thread.start()
    hanging.started.wait(10)
    expire_leases(bench)
    assert reap(bench.study(), bench.engine, "rival") == [0]
    hanging.thread.join(20)
    assert hanging.codes == [3]
    assert states(bench) == ["FAIL", "WAITING"]


def test_a_process_that_was_stopped_did_not_hang(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps here by an hour, as it does for a process that wakes up."""
    ahead_s = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead_s[0])
    monkeypatch.setattr("anomalyvfm_opt.trial.pulse.time", clock)

    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        ahead_s[0] = 3600.0
        time.sleep(1.5)
        return run_quickly(request, progress)

    assert bench.loop(run, times=Times(grace_s=6.0, hang_s=60.0)).take_turn() is Turn.RAN
    assert states(bench) == ["COMPLETE"]


def test_a_trial_with_steps_does_not_hang(bench: Bench) -> None:
    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        for _ in range(16):
            time.sleep(0.1)
            progress.check()
        return run_quickly(request, progress)

    assert bench.loop(run, times=Times(grace_s=6.0, hang_s=1.0)).take_turn() is Turn.RAN
    assert states(bench) == ["COMPLETE"]


def test_a_trial_that_does_not_hear_the_signal_is_given_back_all_the_same(bench: Bench) -> None:
    stop = StopRequest()
    hanging = Hanging(bench, Times(grace_s=6.0, drain_s=0.6), stop)
    threading.Timer(0.5, stop.give_back, (143,)).start()
    hanging.run()
    assert hanging.codes == [143]
    assert hanging.reasons[0].startswith("asked back, no step within")
    assert hanging.ended[0].outcome is Outcome.PREEMPTED
    assert states(bench) == ["FAIL", "WAITING"]


def test_a_lease_that_nobody_took_is_had_back_after_its_grace(bench: Bench) -> None:
    """As when the database was away for longer: the work is not thrown away."""

    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        expire_leases(bench)
        time.sleep(0.6)  # a beat
        progress.check()
        return run_quickly(request, progress)

    bench.loop(run, times=QUICK).take_turn()
    assert states(bench) == ["COMPLETE"]


def test_a_worker_that_was_reaped_notices_at_its_next_beat(bench: Bench) -> None:
    ended: list[Ended] = []

    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        expire_leases(bench)
        assert reap(bench.study(), bench.engine, "rival") == [0]
        for _ in range(50):
            time.sleep(0.1)
            progress.check()
        raise AssertionError("it did not notice")

    bench.loop(run, ended=ended, times=QUICK).take_turn()
    assert [end.outcome for end in ended] == [Outcome.FENCED]
    assert states(bench) == ["FAIL", "WAITING"]


@pytest.mark.parametrize(("drain", "left"), [("now", ["FAIL", "WAITING"]), ("finish", ["COMPLETE"])])
def test_a_worker_that_is_drained_leaves(bench: Bench, drain: Any, left: list[str]) -> None:
    register_worker(bench.engine, identity("w1"), 1.2)

    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        request_drain(bench.engine, ["w1"], drain)
        for _ in range(10):
            time.sleep(0.1)
            progress.check()
        return run_quickly(request, progress)

    loop = bench.loop(run, times=QUICK)
    with pytest.raises(InterruptedTrialError) as stopped:
        run_to_end(loop)
    assert stopped.value.exit_code == 0
    assert states(bench) == left
    assert count_leases(bench) == 0


def test_workers_are_known_while_they_live_and_after(bench: Bench) -> None:
    engine = bench.engine
    for name in ("a", "b", "c"):
        register_worker(engine, identity(name), 30.0)

    def look(request: TrialRequest, progress: Progress) -> TrialResult:
        rows = {row.name: (row.state, row.study, row.trial) for row in list_workers(engine)}
        assert rows == {"a": ("running", "tiny/tile", 0), "b": ("idle", None, None), "c": ("idle", None, None)}
        return run_quickly(request, progress)

    bench.loop(look, worker="a").take_turn()
    request_drain(engine, ["b"], "now")
    end_worker(engine, "c", "done")
    with engine.begin() as connection:
        connection.execute(text("UPDATE anomalyvfm_opt.worker SET heartbeat_at = now() - interval '1 hour'"))
    assert {row.name: row.state for row in list_workers(engine)} == {"a": "silent", "b": "silent"}
    assert [row.end_reason for row in list_workers(engine, with_ended=True) if row.name == "c"] == ["done"]
    assert forget_workers(engine, 7) == 0
    with engine.begin() as connection:
        connection.execute(text("UPDATE anomalyvfm_opt.worker SET heartbeat_at = now() - interval '8 days'"))
    assert forget_workers(engine, 7) == 2


def test_a_dead_workers_trial_need_not_wait_for_the_grace(bench: Bench) -> None:
    register_worker(bench.engine, identity("w1"), 30.0)

    def die(_request: TrialRequest, _progress: Progress) -> TrialResult:
        raise Left

    with pytest.raises(Left):
        bench.loop(die).take_turn()
    assert reap(bench.study(), bench.engine, "w2") == []
    bury_worker(bench.engine, "w1", "killed by signal 9")
    assert reap(bench.study(), bench.engine, "w2") == [0]
