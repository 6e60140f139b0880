"""The trial engine on a real PostgreSQL, with trials that do no training."""

import threading
import time
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.budget import count_usage, take_ticket
from anomalyvfm_opt.store.leases import LeaseLostError
from anomalyvfm_opt.store.scores import read_metrics, read_scores
from anomalyvfm_opt.store.studies import delete_study
from anomalyvfm_opt.trial.loop import Turn
from anomalyvfm_opt.trial.outcome import InterruptedTrialError, Outcome
from anomalyvfm_opt.trial.pulse import Pulse, StopRequest, Times
from anomalyvfm_opt.trial.reap import MAX_LOSSES, reap
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from anomalyvfm_opt.trial.settle import Ended
from tests.integration.conftest import KEYS, Bench, run_quickly
from tests.integration.trial_states import (
    count_leases,
    die_after_asking,
    expire_leases,
    fail_with,
    run_to_end,
    states,
)


def test_a_study_runs_to_its_budget_with_the_references_first(bench: Bench) -> None:
    run_to_end(bench.loop())
    trials = bench.study().get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 6
    assert trials[0].user_attrs["reference"] == "frozen"
    assert trials[0].params == {}
    assert all(len(trial.params) == 12 for trial in trials[1:])
    assert trials[1].intermediate_values.keys() == {1, 2}
    assert trials[1].user_attrs["alpha"] == trials[1].params["alpha_ratio"] * trials[1].params["rank"]
    assert count_usage(bench.engine, bench.record.study_id).used == 6
    assert count_leases(bench) == 0


def test_scores_and_metrics_come_back_as_they_were_written(bench: Bench) -> None:
    bench.loop().take_turn()
    trial = bench.study().get_trials()[0]
    assert trial.value is not None
    assert read_scores(bench.engine, trial._trial_id, "patch_knn") == {
        KEYS[0]: (0, 0.0),
        KEYS[1]: (1, trial.value),
    }
    assert read_metrics(bench.engine, trial._trial_id)["patch_knn"].image_auroc == 1.0


def test_workers_side_by_side_use_the_budget_exactly(bench: Bench) -> None:
    loops = [bench.loop(worker=f"w{i}") for i in range(4)]
    threads = [threading.Thread(target=run_to_end, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert states(bench) == ["COMPLETE"] * 6
    assert count_usage(bench.engine, bench.record.study_id).used == 6


def test_the_last_ticket_is_given_once(small_bench: Bench) -> None:
    engine, study_id = small_bench.engine, small_bench.record.study_id
    tickets: list[Any] = []
    threads = [
        threading.Thread(target=lambda: tickets.append(take_ticket(engine, study_id, "w", 30.0)))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(tickets) == 12
    assert sum(ticket is not None for ticket in tickets) == 2


def test_a_trial_seed_comes_from_study_and_number(bench: Bench) -> None:
    run_to_end(bench.loop())
    seeds = [trial.user_attrs["training_seed"] for trial in bench.study().get_trials()]
    assert len(set(seeds)) == 6


def test_an_interrupted_trial_is_given_back_and_retried_with_its_parameters_and_seed(bench: Bench) -> None:
    bench.loop().take_turn()
    seen: list[TrialRequest] = []

    def run_until_stopped(request: TrialRequest, _progress: Progress) -> TrialResult:
        seen.append(request)
        raise InterruptedTrialError(143)

    with pytest.raises(InterruptedTrialError):
        bench.loop(run_until_stopped).take_turn()
    assert states(bench) == ["COMPLETE", "FAIL", "WAITING"]
    assert count_usage(bench.engine, bench.record.study_id).used == 1

    def run_again(request: TrialRequest, progress: Progress) -> TrialResult:
        seen.append(request)
        return run_quickly(request, progress)

    bench.loop(run_again, worker="w2").take_turn()
    assert (seen[0].seed, seen[0].parameters) == (seen[1].seed, seen[1].parameters)
    run_to_end(bench.loop())
    assert states(bench).count("COMPLETE") == 6


def test_a_reference_that_is_given_back_stays_a_reference(bench: Bench) -> None:
    with pytest.raises(EnvironmentMissingError):
        bench.loop(fail_with(EnvironmentMissingError("no weights"))).take_turn()
    run_to_end(bench.loop())
    complete = [trial for trial in bench.study().get_trials() if trial.state is TrialState.COMPLETE]
    assert [trial.user_attrs.get("reference") for trial in complete].count("frozen") == 1
    assert len(complete) == 6


def test_a_dead_workers_trial_is_found_and_run_again(bench: Bench) -> None:
    """A worker that dies is one whose lease is no longer renewed: no `except` of it runs."""
    bench.loop().take_turn()
    die_after_asking(bench)
    assert reap(bench.study(), bench.engine, "w2") == []  # its lease still lives
    expire_leases(bench)
    run_to_end(bench.loop(worker="w2"))
    assert sorted(states(bench)) == ["COMPLETE"] * 6 + ["FAIL"]
    assert count_leases(bench) == 0


def test_a_worker_that_dies_between_ticket_and_trial_leaves_nothing_running(bench: Bench) -> None:
    assert take_ticket(bench.engine, bench.record.study_id, "dead", 30.0) is not None
    bench.study().ask()  # RUNNING, and never attached to a lease
    assert reap(bench.study(), bench.engine, "w2") == []  # it may belong to the open ticket
    expire_leases(bench)
    run_to_end(bench.loop(worker="w2"))
    assert states(bench).count("COMPLETE") == 6
    assert "RUNNING" not in states(bench)


def test_a_reaper_that_dies_half_way_is_finished_by_the_next(bench: Bench) -> None:
    trial = bench.study().ask()
    bench.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)  # the first of four steps
    run_to_end(bench.loop())
    complete = [t for t in bench.study().get_trials() if t.state is TrialState.COMPLETE]
    assert len(complete) == 6
    assert sum(t.user_attrs.get("reference") == "frozen" for t in complete) == 1


def test_a_trial_that_kills_every_worker_is_given_up(bench: Bench) -> None:
    for _ in range(MAX_LOSSES):
        die_after_asking(bench)
        expire_leases(bench)
        reap(bench.study(), bench.engine, "w2")
    usage = count_usage(bench.engine, bench.record.study_id)
    assert (usage.failed, usage.waiting, usage.used) == (1, 0, 1)


def test_a_worker_that_lost_its_lease_writes_nothing(bench: Bench) -> None:
    ended: list[Ended] = []

    def run_too_long(request: TrialRequest, progress: Progress) -> TrialResult:
        expire_leases(bench)
        reap(bench.study(), bench.engine, "rival")
        return run_quickly(request, progress)

    bench.loop(run_too_long, ended=ended).take_turn()
    assert [e.outcome for e in ended] == [Outcome.FENCED]
    assert states(bench) == ["FAIL", "WAITING"]
    run_to_end(bench.loop(worker="rival"))
    assert states(bench).count("COMPLETE") == 6


def test_an_interrupt_after_the_lease_was_lost_makes_no_second_copy(bench: Bench) -> None:
    def run_too_long(_request: TrialRequest, _progress: Progress) -> TrialResult:
        expire_leases(bench)
        reap(bench.study(), bench.engine, "rival")
        raise InterruptedTrialError(143)

    with pytest.raises(InterruptedTrialError):
        bench.loop(run_too_long).take_turn()
    assert states(bench) == ["FAIL", "WAITING"]


def test_the_heartbeat_keeps_a_lease_alive_past_its_grace(bench: Bench) -> None:
    lease = take_ticket(bench.engine, bench.record.study_id, "w", 1.2)
    assert lease is not None
    pulse = Pulse(bench.engine, "w", Times(grace_s=1.2), StopRequest(), die=lambda: None)
    with pulse.hold(lease, lambda *_: None) as hold:
        time.sleep(2.0)
        hold.check()
        lease.attach(bench.engine, bench.study().ask()._trial_id)
        lease.release(bench.engine)
        time.sleep(0.6)
        with pytest.raises(LeaseLostError):
            hold.check()
    with pytest.raises(LeaseLostError):
        lease.attach(bench.engine, bench.study().ask()._trial_id)


def test_waiting_workers_wait_for_what_others_may_give_back(small_bench: Bench) -> None:
    held = [take_ticket(small_bench.engine, small_bench.record.study_id, "other", 30.0) for _ in range(2)]
    assert small_bench.loop().take_turn() is Turn.WAIT
    for lease in held:
        assert lease is not None
        lease.release(small_bench.engine)
    run_to_end(small_bench.loop())
    assert small_bench.loop().take_turn() is Turn.DONE


def test_a_worker_that_cannot_run_a_study_takes_nothing_from_it(bench: Bench) -> None:
    def refuse() -> Any:
        raise EnvironmentMissingError("no images here")

    loop = bench.loop()
    loop._prepare = refuse
    with pytest.raises(EnvironmentMissingError):
        loop.take_turn()
    assert states(bench) == ["WAITING"]
    assert count_leases(bench) == 0


def test_a_signal_that_comes_late_does_not_cost_a_finished_trial(bench: Bench) -> None:
    stop = StopRequest()

    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        stop.give_back(143)
        return run_quickly(request, progress)

    loop = bench.loop(run, stop=stop)
    assert loop.take_turn() is Turn.RAN
    assert states(bench) == ["COMPLETE"]
    with pytest.raises(InterruptedTrialError):
        loop.take_turn()


def test_a_study_that_is_deleted_under_a_worker_ends_it_with_a_clear_line(bench: Bench) -> None:
    ended: list[Ended] = []

    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        delete_study(bench.store, bench.record.name)
        return run_quickly(request, progress)

    loop = bench.loop(run, ended=ended)
    loop.take_turn()
    assert [e.outcome for e in ended] == [Outcome.FENCED]
    assert loop.take_turn() is Turn.DONE  # and the next look at the list of studies no longer shows it


def test_optuna_still_has_the_private_names_that_the_loop_leans_on(bench: Bench) -> None:
    study = bench.study()
    trial = study.ask()
    assert isinstance(study._study_id, int)
    assert isinstance(trial._trial_id, int)
    value = trial._suggest("rank", optuna.distributions.CategoricalDistribution((2, 4)))
    assert value in (2, 4)
    assert study._storage.get_trial(trial._trial_id).params == {"rank": value}
    assert study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    study.enqueue_trial({"rank": 4})
    assert study.get_trials()[-1].system_attrs["fixed_params"] == {"rank": 4}
    assert optuna.distributions.FloatDistribution(0, 1)._contains(0.5)
