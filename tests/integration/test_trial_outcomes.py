"""How trials end, and what follows, on a real PostgreSQL."""

import pytest
from optuna.trial import TrialState

from anomalyvfm_opt.errors import AnomalyVFMOptError, DivergedError, DoesNotFitError
from anomalyvfm_opt.store.budget import count_usage, take_ticket
from anomalyvfm_opt.trial.loop import Turn
from anomalyvfm_opt.trial.settle import Ended
from tests.integration.conftest import Bench
from tests.integration.trial_states import (
    die_after_asking,
    expire_leases,
    fail_with,
    run_to_end,
    states,
)


def test_a_diverged_trial_is_pruned_and_marked_for_the_sampler(bench: Bench) -> None:
    bench.loop().take_turn()
    bench.loop(fail_with(DivergedError("loss nan in epoch 1"))).take_turn()
    trial = bench.study().get_trials()[1]
    assert trial.state is TrialState.PRUNED
    assert trial.constraints == {"diverged": 1.0}
    assert count_usage(bench.engine, bench.record.study_id).used == 2


def test_a_trial_that_does_not_fit_is_pruned_and_marked_for_the_sampler(bench: Bench) -> None:
    bench.loop().take_turn()
    bench.loop(fail_with(DoesNotFitError("CUDA out of memory"))).take_turn()
    trial = bench.study().get_trials()[1]
    assert (trial.state, trial.constraints) == (TrialState.PRUNED, {"out_of_memory": 1.0})


def test_a_ticket_is_held_until_its_trial_is_settled(small_bench: Bench) -> None:
    """Between FAIL and its outcome a trial is neither running nor counted as failed: its ticket must stay out."""
    bench = small_bench
    bench.loop().take_turn()
    die_after_asking(bench)
    trial = bench.study().get_trials()[1]
    bench.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    assert take_ticket(bench.engine, bench.record.study_id, "rival", 30.0) is None
    assert bench.loop().take_turn() is Turn.WAIT
    expire_leases(bench)
    run_to_end(bench.loop())
    assert sorted(states(bench)) == ["COMPLETE", "COMPLETE", "FAIL"]


def test_a_trial_that_was_killed_while_telling_is_taken_up(bench: Bench) -> None:
    bench.loop().take_turn()
    die_after_asking(bench)
    trial = bench.study().get_trials()[1]
    bench.storage.set_trial_user_attr(trial._trial_id, "epoch_losses", [0.5, 0.4])
    expire_leases(bench)
    run_to_end(bench.loop())
    assert states(bench).count("COMPLETE") == 6


def test_a_bug_fails_the_trial_and_three_in_a_row_stop_the_worker(bench: Bench) -> None:
    ended: list[Ended] = []
    loop = bench.loop(fail_with(ZeroDivisionError("oops")), ended=ended)
    assert loop.take_turn() is Turn.RAN
    assert loop.take_turn() is Turn.RAN
    with pytest.raises(AnomalyVFMOptError, match="failed one after the other"):
        loop.take_turn()
    assert states(bench) == ["FAIL"] * 3
    assert count_usage(bench.engine, bench.record.study_id).failed == 3
    assert "ZeroDivisionError: oops" in ended[0].message
