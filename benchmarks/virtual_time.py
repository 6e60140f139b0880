"""Threads that share a virtual clock: what they sleep costs nothing, what they do in between is done and timed."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


class Died(BaseException):
    """A worker's sudden death: no `except Exception` sees it, as none sees SIGKILL."""


@dataclass
class Clock:
    """The clock of one thread; moves by what it sleeps, and by the real time between two sleeps."""

    scheduler: "Scheduler"
    now_s: float
    busy_s: float = 0.0  # real seconds between sleeps
    dies_at_s: float = float("inf")
    resume: threading.Event = field(default_factory=threading.Event)
    resumed_at: float = 0.0

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass.

        Raises:
            Died: this worker's end falls into the sleep.
        """
        self._stop()
        self.now_s += seconds
        self.scheduler.park(self)
        self.resume.wait()
        self.resume.clear()
        self.resumed_at = time.perf_counter()
        if self.now_s >= self.dies_at_s:
            raise Died

    def _stop(self) -> None:
        spent_s = time.perf_counter() - self.resumed_at
        self.busy_s += spent_s
        self.now_s += spent_s


class Scheduler:
    """Wakes sleepers in the order of virtual time, all that are due within `window_s` at once.

    Those that are woken together run side by side, so they contend for the database and for the processor even if
    they would have missed each other by less than the window: rather too much contention than too little.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._due: list[tuple[float, int, Clock]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._awake = 0
        self.threads: list[threading.Thread] = []

    def start(self, at_s: float, work: Callable[[Clock], None]) -> Clock:
        """A thread that begins at a time of the virtual clock."""
        clock = Clock(self, at_s)
        thread = threading.Thread(target=self._run, args=(clock, work), daemon=True)
        self.threads.append(thread)
        with self._changed:
            self._awake += 1
        thread.start()
        return clock

    def park(self, clock: Clock) -> None:
        """Note that a thread sleeps until its clock's time."""
        with self._changed:
            heapq.heappush(self._due, (clock.now_s, next(self._order), clock))
            self._awake -= 1
            self._changed.notify()

    def run(self) -> None:
        """Until every thread has ended."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._awake == 0)
                if not self._due:
                    return
                until_s = self._due[0][0] + self._window_s
                woken = []
                while self._due and self._due[0][0] <= until_s:
                    woken.append(heapq.heappop(self._due)[2])
                self._awake = len(woken)
            for clock in woken:
                clock.resume.set()

    def _run(self, clock: Clock, work: Callable[[Clock], None]) -> None:
        try:
            clock.resumed_at = time.perf_counter()
            clock.sleep(0)
            work(clock)
        except Died:
            pass
        finally:
            with self._changed:
                self._awake -= 1
                self._changed.notify()
