"""A worker's pulse: the thread that keeps its lease alive, hears what it is asked, and watches that trials move.

A heart that beats says that the process lives, not that its trial gets on: a read from a dead disk or a GPU that
never answers would hold a trial for ever. So the thread also asks when the trial last reported, and how long ago
the worker was told to stop.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from anomalyvfm_opt.store.leases import Lease, LeaseLostError
from anomalyvfm_opt.store.workers import beat
from anomalyvfm_opt.trial.outcome import InterruptedTrialError, Outcome, catch

_log = logging.getLogger(__name__)
_LONGEST_INTERVAL_S = 5.0  # a worker that is asked to leave hears of it this late
_LOOK_S = 0.5
_ASLEEP_S = 10.0  # a beat to a server out of reach takes longer than the wait between two looks


@dataclass(frozen=True)
class Times:
    """How patient a worker is, in seconds.

    Args:
        grace_s: how long a lease lives without a heartbeat.
        hang_s: how long a trial may go without a step before it counts as hung.
        drain_s: how long a trial that is to be given back may take to its next step.
        outage_s: how long the database may be away.
    """

    grace_s: float = 60.0
    hang_s: float = 1800.0
    drain_s: float = 30.0
    outage_s: float = 900.0


class StopRequest:
    """That a worker is asked to stop, from whatever side: a signal, or a row in the store.

    Setting it is safe inside a signal handler.
    """

    def __init__(self) -> None:
        self._exit_code: int | None = None
        self._since = 0.0
        self.is_finishing = False  # the running trial is to end first
        self.is_heard_at_once = False  # see `heard_at_once`

    def give_back(self, exit_code: int) -> None:
        """Ask for the trial to be given back; the first exit code stays."""
        if self._exit_code is None:
            self._since = time.monotonic()
            self._exit_code = exit_code

    def finish(self) -> None:
        """Ask the worker to end after its trial."""
        self.is_finishing = True

    def check(self) -> None:
        """Raise if the trial is to be given back.

        Raises:
            InterruptedTrialError: with the exit code.
        """
        if self._exit_code is not None:
            raise InterruptedTrialError(self._exit_code)

    def check_between_trials(self) -> None:
        """Raise if the trial is to be given back, and also if the worker is to end after its trial.

        Raises:
            InterruptedTrialError: with the exit code.
        """
        self.check()
        if self.is_finishing:
            raise InterruptedTrialError(0)

    @contextmanager
    def heard_at_once(self) -> Iterator[None]:
        """Have a signal end what is done within a `with`, where no trial is held that could go on to a next step.

        Raises:
            InterruptedTrialError: asked to stop, before it, within it, or to end after a trial.
        """
        self.check_between_trials()
        self.is_heard_at_once = True
        try:
            yield
        finally:
            self.is_heard_at_once = False
        self.check_between_trials()

    @property
    def exit_code(self) -> int:
        """What the process is to end with; 0 if nobody asked it to."""
        return self._exit_code or 0

    def waited_s(self) -> float:
        """Return seconds since the trial was asked back; 0 if it was not."""
        return time.monotonic() - self._since if self._exit_code is not None else 0.0


@dataclass
class Hold:
    """One running trial in the hands of this worker."""

    lease: Lease
    stop: StopRequest
    on_stuck: Callable[[Outcome, str], None]  # called once, from the pulse's thread
    moved_at: float = field(default_factory=time.monotonic)
    is_lost: bool = False
    is_stuck: bool = False

    def touch(self) -> None:
        """Note that the trial moves."""
        self.moved_at = time.monotonic()

    def check(self) -> None:
        """Note that the trial moves, and raise if it must not go on.

        Raises:
            InterruptedTrialError: the worker was asked to give it back.
            LeaseLostError: another process took it over.
        """
        self.touch()
        if self.is_lost:
            raise LeaseLostError
        self.stop.check()


class Pulse:
    """Beats for the length of a `with`, and while a trial is held.

    Whatever one beat raises is logged, and the next one comes: a database that is away for a while does not end
    it. If the lease is gone by then, the hold says so. Should the thread end all the same, so does the process:
    nobody would keep its lease, hear what it is asked, or see its trial hang.

    Args:
        engine: on the study store; two connections are in use at once, this thread's and the loop's.
        worker: its name, as registered.
        times: how patient it is.
        stop: what a request in the store sets.
        die: ends the process; called from the pulse's thread when that cannot go on.
    """

    def __init__(
        self, engine: Engine, worker: str, times: Times, stop: StopRequest, die: Callable[[], None]
    ) -> None:
        self.worker = worker
        self.times = times
        self.stop = stop
        self._engine = engine
        self._die = die
        self._interval_s = min(_LONGEST_INTERVAL_S, times.grace_s / 6)
        self._held: Hold | None = None
        self._users = 0
        self._quit = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._users += 1
        if self._users == 1:
            self._quit.clear()
            self._thread = threading.Thread(target=self._live, name="pulse", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._users -= 1
        if self._users == 0 and self._thread is not None:
            self._quit.set()
            self._thread.join()

    @contextmanager
    def hold(self, lease: Lease, on_stuck: Callable[[Outcome, str], None]) -> Iterator[Hold]:
        """Keep a lease alive and watch its trial for the length of a `with`.

        Args:
            lease: of the running trial.
            on_stuck: told, from the pulse's thread, that the trial no longer answers.
        """
        held = Hold(lease, self.stop, on_stuck)
        with self:
            self._held = held
            try:
                yield held
            finally:
                self._held = None

    def _live(self) -> None:
        has_quit = False
        try:
            self._run()
            has_quit = True
        finally:
            if not has_quit:
                _log.critical("the heartbeat cannot go on, so the worker ends", exc_info=True)
                self._die()

    def _run(self) -> None:
        looked_at = time.monotonic()
        next_beat = looked_at + self._interval_s
        while not self._quit.wait(min(_LOOK_S, self._interval_s)):
            slept_s, looked_at = time.monotonic() - looked_at, time.monotonic()
            if slept_s > _ASLEEP_S and self._held is not None:
                self._held.touch()  # the whole process was stopped: the trial could not move
            if time.monotonic() >= next_beat:
                self._try_to_beat()
                next_beat = time.monotonic() + self._interval_s
            self._look_for_stuck()

    def _try_to_beat(self) -> None:
        error = catch(self._beat)
        if isinstance(error, SQLAlchemyError):
            _log.warning("heartbeat failed, will be tried again: %s", str(error).splitlines()[0])
        elif error is not None:
            _log.error("heartbeat failed, will be tried again; this is a bug", exc_info=error)

    def _beat(self) -> None:
        held = self._held
        lease_id = held.lease.lease_id if held is not None and not held.is_lost else None
        answer = beat(self._engine, self.worker, lease_id, self.times.grace_s)
        if held is not None and lease_id is not None:
            held.is_lost = not answer.has_lease
        if answer.drain == "now":
            self.stop.give_back(0)
        elif answer.drain == "finish":
            self.stop.finish()

    def _look_for_stuck(self) -> None:
        held = self._held
        if held is None or held.is_stuck:
            return
        still_s = time.monotonic() - held.moved_at
        if still_s > self.times.hang_s:
            held.is_stuck = True
            held.on_stuck(Outcome.HUNG, f"no step for {still_s:.0f} s (limit {self.times.hang_s:g} s)")
        elif self.stop.waited_s() > self.times.drain_s:
            held.is_stuck = True
            message = f"asked back, no step within {self.times.drain_s:g} s"
            held.on_stuck(Outcome.PREEMPTED, message)
