"""Sibling studies on a real PostgreSQL: what is planned is planned once, and run exactly."""

import threading
from collections import Counter
from dataclasses import replace

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from sqlalchemy import Connection, text

from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.siblings import find_sibling, plan_trials
from anomalyvfm_opt.store.studies import delete_study, list_names
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.trial.loop import Turn
from anomalyvfm_opt.trial.outcome import InterruptedTrialError
from anomalyvfm_opt.trial.reap import reap
from anomalyvfm_opt.trial.space import build_sampler
from tests.integration.families import V1_1, Families, Family, plan_some
from tests.integration.trial_states import die_after_asking, expire_leases, run_to_end


def plan(family: Family, trials: list[tuple[Planned, dict[str, object]]]) -> int:
    return plan_trials(family.store, family.bench.record, "replicates", trials)


def test_the_same_plan_again_adds_nothing(family: Family) -> None:
    assert plan(family, plan_some("v1.1", 3)) == 3
    assert plan(family, plan_some("v1.1", 3)) == 0
    assert plan(family, plan_some("v1.1", 5)) == 2
    assert count_usage(family.engine, family.sibling("replicates").record.study_id).budget == 5
    assert len(family.sibling("replicates").study().get_trials()) == 5


def test_a_sibling_stands_on_the_same_spec_data_and_division(family: Family) -> None:
    plan(family, plan_some("v1.1", 1))
    sibling, study = family.sibling("replicates").record, family.bench.record
    assert sibling.kind == "replicates"
    assert replace(sibling, study_id=study.study_id, name=study.name, budget=study.budget) == study
    assert list_images(family.engine, sibling.study_id) == list_images(family.engine, study.study_id)


def test_two_that_plan_at_once_plan_once(family: Family) -> None:
    counts: list[int] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        counts.append(plan(family, plan_some("v1.1", 5)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(counts) == [0, 0, 0, 5]
    assert len(family.sibling("replicates").study().get_trials()) == 5


def test_a_plan_that_breaks_off_leaves_nothing(family: Family) -> None:
    def break_off(connection: Connection, study_id: int) -> bool:
        connection.execute(
            text("UPDATE anomalyvfm_opt.study SET judged = 99 WHERE study_id = :id"), {"id": study_id}
        )
        raise ZeroDivisionError

    arguments = (family.store, family.bench.record, "confirm", plan_some("finalist", 3))
    with pytest.raises(ZeroDivisionError):
        plan_trials(*arguments, break_off)
    assert find_sibling(family.engine, family.bench.record, "confirm") is None
    assert f"{family.name}#confirm" not in list_names(family.engine)
    assert plan_trials(*arguments) == 3
    assert family.sibling("confirm").record.judged == 1


def test_what_is_not_wanted_alongside_is_not_planned(family: Family) -> None:
    arguments = (family.store, family.bench.record, "confirm", plan_some("finalist", 3))
    assert plan_trials(*arguments, lambda _connection, _study_id: False) == 0
    assert family.sibling("confirm").study().get_trials() == []


def test_workers_run_the_planned_trials_exactly(family: Family) -> None:
    planned = plan_some("v1.1", 4) + plan_some("frozen", 2, parameters=None)
    plan(family, planned)
    bench = family.sibling("replicates")
    loops = [bench.loop(family.trainings.run, worker=f"w{i}") for i in range(3)]
    threads = [threading.Thread(target=run_to_end, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    trials = bench.study().get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 6
    assert [TrialRecord.from_attributes(trial.user_attrs).read_planned(64) for trial in trials] == [
        one for one, _ in planned
    ]
    ran = Counter((request.parameters, request.seed) for request in family.trainings.ran)
    assert ran == Counter((one.parameters, one.seed) for one, _ in planned)
    usage = count_usage(family.engine, bench.record.study_id)
    assert (usage.used, usage.waiting, usage.held) == (6, 0, 0)


def test_a_loop_picks_up_what_is_planned_while_it_lives(family: Family) -> None:
    plan(family, plan_some("v1.1", 2))
    loop = family.sibling("replicates").loop(family.trainings.run)
    run_to_end(loop)
    assert loop.take_turn() is Turn.DONE
    plan(family, plan_some("v1.1", 3))
    run_to_end(loop)
    assert [request.seed for request in family.trainings.ran] == [1, 2, 3]


def test_a_planned_trial_that_is_given_back_keeps_its_plan(store: Families) -> None:
    errors: list[Exception] = [InterruptedTrialError(143)]
    family = store.found("given-back", fault=lambda _request: errors.pop() if errors else None)
    trial = Planned("finalist", V1_1, 5, 1, "patch_knn")
    plan_trials(family.store, family.bench.record, "confirm", [(trial, {})])
    loop = family.sibling("confirm").loop(family.trainings.run)
    with pytest.raises(InterruptedTrialError):
        loop.take_turn()
    family.work("confirm")
    first, again = family.sibling("confirm").study().get_trials()
    assert (first.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert TrialRecord.from_attributes(again.user_attrs).read_planned(64) == trial
    requests = [(r.parameters, r.seed, r.look and r.look.scorer) for r in family.trainings.ran]
    assert requests == [(V1_1, 5, "patch_knn")] * 2


def test_a_planned_trial_of_a_worker_that_died_keeps_its_plan(family: Family) -> None:
    plan(family, plan_some("v1.1", 1))
    bench = family.sibling("replicates")
    die_after_asking(bench)
    expire_leases(bench)
    run_to_end(bench.loop(family.trainings.run))
    assert [trial.state.name for trial in bench.study().get_trials()] == ["FAIL", "COMPLETE"]
    assert [(request.parameters, request.seed) for request in family.trainings.ran] == [(V1_1, 1)]


def test_no_trial_is_made_up_while_a_dead_workers_trial_is_given_back(family: Family) -> None:
    """Its worker died before its lease knew it, and the process that gives it back is stopped at that.

    Without its lease the trial counts for nothing, so there is a ticket, and nothing that waits for it.
    """
    plan(family, plan_some("v1.1", 1))
    bench = family.sibling("replicates")
    bench.study().ask()
    with bench.engine.begin() as connection:  # what the stopped one holds
        connection.execute(
            text("SELECT FROM trials WHERE study_id = :id FOR UPDATE"), {"id": bench.record.study_id}
        )
        loop = bench.loop(family.trainings.run)
        assert loop.take_turn() is Turn.WAIT
        assert family.trainings.ran == []
    assert reap(bench.study(), bench.engine, "other") == [0]
    run_to_end(loop)
    assert [trial.state.name for trial in bench.study().get_trials()] == ["FAIL", "COMPLETE"]
    assert [request.seed for request in family.trainings.ran] == [1]


def test_the_search_never_sees_its_siblings(store: Families) -> None:
    """Neither its sampler nor its best trial: they are the same as without siblings."""
    families = [store.found(name, search={"trials": 6, "sampler": "tpe", "startup_trials": 1}) for name in "ab"]
    plan(families[0], plan_some("v1.1", 3))
    families[0].work("replicates")
    found = []
    for family in families:
        study = family.bench.study()
        study.sampler = build_sampler(family.bench.record.spec.search, "same", "same")
        for i in range(5):
            trial = study.ask({"x": FloatDistribution(0.0, 1.0)})
            study.tell(trial, i / 100)
        found.append([(trial.params, trial.value) for trial in study.get_trials()])
    assert found[0] == found[1]
    values = [trial.value for trial in families[0].sibling("replicates").study().get_trials()]
    assert max(value or 0 for value in values) > 0.04
    assert families[0].bench.study().best_value == 0.04


def test_deleting_a_study_deletes_its_siblings_and_keeps_the_looks(family: Family) -> None:
    family.search()
    family.confirm()
    looks = family.look_rows()
    assert len(looks) == 9
    names = [name for name in list_names(family.engine) if name.startswith(family.name)]
    assert names == [family.name, f"{family.name}#replicates", f"{family.name}#confirm"]
    delete_study(family.store, family.name)
    assert [name for name in list_names(family.engine) if name.startswith(family.name)] == []
    assert family.look_rows() == looks
    left = family.ask(
        "SELECT study_id FROM anomalyvfm_opt.study_image UNION SELECT study_id FROM anomalyvfm_opt.confirmation"
    )
    assert family.bench.record.study_id not in {row.study_id for row in left}
