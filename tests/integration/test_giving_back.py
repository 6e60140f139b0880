"""Trials that are given back: wholly, once, by one of many reapers, and past processes that are stopped."""

import threading
from unittest.mock import Mock, patch

import pytest
from optuna.trial import TrialState
from sqlalchemy import text

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.budget import count_usage, take_ticket
from anomalyvfm_opt.store.leases import LeaseLostError
from anomalyvfm_opt.trial.loop import Turn
from anomalyvfm_opt.trial.outcome import Outcome
from anomalyvfm_opt.trial.reap import MAX_LOSSES, give_back, reap
from tests.integration.conftest import Bench
from tests.integration.trial_states import (
    die_after_asking,
    expire_leases,
    fail_with,
    run_to_end,
    states,
)


def test_a_trial_whose_copy_is_there_is_not_failed_for_good_as_well(bench: Bench) -> None:
    """As a version left it that gave trials back in several steps, and died between them.

    Found by tests/chaos/test_state_machine.py: the trial and its copy both counted.
    """
    for _ in range(MAX_LOSSES - 1):
        die_after_asking(bench)
        expire_leases(bench)
        reap(bench.study(), bench.engine, "reaper")
    die_after_asking(bench)
    last = bench.study().get_trials()[-1]
    bench.storage.set_trial_state_values(last._trial_id, TrialState.FAIL)
    attributes = {"retry_of": last.number, "first_number": 0, "times_lost": 2, "reference": "frozen"}
    bench.study().enqueue_trial({}, user_attrs=attributes)
    expire_leases(bench)
    run_to_end(bench.loop())
    usage = count_usage(bench.engine, bench.record.study_id)
    assert (usage.complete, usage.failed) == (6, 0)
    first = [trial.user_attrs.get("first_number", trial.number) for trial in bench.study().get_trials()]
    assert first.count(0) == MAX_LOSSES + 1


def test_a_trial_is_given_back_wholly_or_not_at_all(bench: Bench) -> None:
    loop = bench.loop(fail_with(EnvironmentMissingError("no weights")))
    die = patch("anomalyvfm_opt.store.endings._insert_outcome", Mock(side_effect=KeyboardInterrupt))
    with die, pytest.raises(KeyboardInterrupt):
        loop.take_turn()
    assert states(bench) == ["RUNNING"]
    expire_leases(bench)
    reapers = [threading.Thread(target=reap, args=(bench.study(), bench.engine, f"r{i}")) for i in range(4)]
    for reaper in reapers:
        reaper.start()
    for reaper in reapers:
        reaper.join(30)
    assert states(bench) == ["FAIL", "WAITING"]


def test_a_process_that_is_stopped_while_it_gives_back_holds_nobody_up(bench: Bench) -> None:
    die_after_asking(bench)
    expire_leases(bench)
    with bench.engine.begin() as connection:  # what the stopped one holds
        connection.execute(text("SELECT FROM trials WHERE number = 0 FOR UPDATE"))
        assert reap(bench.study(), bench.engine, "other") == []
        assert bench.loop().take_turn() is Turn.RAN
    assert reap(bench.study(), bench.engine, "other") == [0]


def test_a_trial_that_is_taken_back_before_its_lease_knows_it_is_left_alone(bench: Bench) -> None:
    lease = take_ticket(bench.engine, bench.record.study_id, "w", 30.0)
    assert lease is not None
    trial = bench.study().ask()
    assert give_back(bench.engine, bench.study().get_trials()[0], Outcome.PREEMPTED, "by a person", "stop --now")
    with pytest.raises(LeaseLostError):
        lease.attach(bench.engine, trial._trial_id)
