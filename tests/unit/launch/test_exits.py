"""The queue of workers that have ended, which both engines that run here share."""

import inspect
import threading
import time

from anomalyvfm_opt.launch.base import Exit, Exits, Slot
from anomalyvfm_opt.launch.local import LocalLauncher
from anomalyvfm_opt.launch.ray_cluster import RayLauncher


def test_each_is_told_once_and_in_order() -> None:
    exits = Exits()
    first, second = Exit(Slot(1, "cpu"), 0), Exit(Slot(2, "cpu"), 3)
    exits.add(first)
    exits.add(second)
    assert [exits.wait(0.0), exits.wait(0.0)] == [first, second]


def test_nobody_has_ended_within_the_time() -> None:
    began = time.monotonic()
    assert Exits().wait(0.05) is None
    assert time.monotonic() - began >= 0.05


def test_one_that_ends_meanwhile_is_not_waited_for_any_longer() -> None:
    exits, ended = Exits(), Exit(Slot(1, "cpu"), -9)
    threading.Timer(0.05, exits.add, (ended,)).start()
    assert exits.wait(10.0) is ended


def test_no_engine_waits_by_itself() -> None:
    for launcher in (LocalLauncher, RayLauncher):
        assert "queue" not in inspect.getsource(inspect.getmodule(launcher))  # type: ignore[arg-type]
        assert not hasattr(launcher, "wait")
