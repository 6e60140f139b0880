"""The fleet in virtual time, small: the budget is exact though workers die, and the virtual clock is right."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from anomalyvfm_opt.store.engine import make_engine


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("fleet")


def test_a_small_fleet_keeps_its_budget_though_workers_die(fleet: Any, database_url: str) -> None:
    record = fleet.bench.make_study(database_url, 24)
    workers = fleet.Fleet(database_url, record, deaths=2)
    workers.run(6)
    engine = make_engine(database_url)
    fleet.check(engine, record, workers.lost)
    engine.dispose()
    assert workers.died == workers.lost == 2
    assert len(workers.trial_store_s) == 24
    assert workers.beats >= 24 * 5
    assert 24 / 6 * 54 < workers.ended_s < 24 / 6 * 66 + 200  # two deaths, each with a minute's grace


def test_a_fleet_that_lost_something_is_told(fleet: Any, database_url: str) -> None:
    record = fleet.bench.make_study(database_url, 4)
    fleet.Fleet(database_url, record, deaths=0).run(2)
    engine = make_engine(database_url)
    with pytest.raises(SystemExit, match="not exact"):
        fleet.check(engine, record, 1)
    engine.dispose()


def test_sleepers_wake_in_the_order_of_virtual_time(fleet: Any) -> None:
    woken: list[str] = []
    scheduler = fleet.Scheduler(window_s=0.0)

    def sleep(name: str, seconds: float) -> Any:
        def work(clock: Any) -> None:
            clock.sleep(seconds)
            woken.append(name)

        return work

    for name, seconds in (("late", 3600.0), ("early", 60.0), ("middle", 600.0)):
        scheduler.start(0.0, sleep(name, seconds))
    scheduler.run()
    assert woken == ["early", "middle", "late"]


def test_a_worker_dies_in_the_sleep_that_its_end_falls_into(fleet: Any) -> None:
    scheduler, seen = fleet.Scheduler(window_s=0.0), []

    def work(clock: Any) -> None:
        for _ in range(3):
            clock.sleep(60.0)
            seen.append(round(clock.now_s / 60.0))

    scheduler.start(0.0, work).dies_at_s = 150.0
    scheduler.run()
    assert seen == [1, 2]
