"""From a finished search to a plan that is carried out: every stage, and every way to ask for it twice."""

import threading
from collections import Counter
from typing import Any

import pytest

from anomalyvfm_opt.errors import DivergedError, UsageError
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.store.confirmation_plan import ConfirmationPlan
from anomalyvfm_opt.store.confirmations import StoredConfirmation, list_confirmations
from anomalyvfm_opt.store.predictions import list_predictions
from anomalyvfm_opt.store.study_state import set_state
from anomalyvfm_opt.trial.result import TrialRequest
from anomalyvfm_opt.verdict.next_step import Stage
from anomalyvfm_opt.verdict.predictions import RULE_PREDICTIONS
from anomalyvfm_opt.verdict.read_ledger import predict, read_ledger
from anomalyvfm_opt.verdict.read_trials import list_observed
from tests.integration.families import V1_1, Families, Family, better


def count_arms(family: Family, kind: Any, number: int = 0) -> Counter[str]:
    return Counter(run.planned.arm for run in family.runs(kind) if run.planned.round == number)


def read_rounds(family: Family) -> list[StoredConfirmation]:
    return list_confirmations(family.engine, family.sibling("confirm").record.study_id)


def read_plan(family: Family) -> ConfirmationPlan:
    return ConfirmationPlan.from_json(read_rounds(family)[-1].plan, 64)


def test_the_stages_follow_each_other(family: Family) -> None:
    assert family.advance() == Stage("searching", 0, 6)
    family.search()
    # the noise floor and the frozen network first: with the noise known, the finalists are always the same ones
    assert family.advance() == Stage("replicating", 0, 4, planned=4)
    assert count_arms(family, "replicates") == {"v1.1": 3, "frozen": 1}
    assert family.advance() == Stage("replicating", 0, 4)
    family.work("replicates")
    assert family.advance() == Stage("replicating", 0, 4, planned=4)
    assert sorted(count_arms(family, "replicates").values()) == [1, 2, 2, 3]
    assert family.advance() == Stage("replicating", 0, 4)
    family.work("replicates")
    assert family.advance() == Stage("confirming", 1, 9, planned=9)
    assert count_arms(family, "confirm", 1) == {"finalist": 4, "baseline": 4, "frozen": 1}
    assert family.look_rows() == []
    assert family.advance() == Stage("confirming", 1, 9)
    family.work("confirm")
    assert family.advance() == Stage("done", 1, 0)
    assert len(family.look_rows()) == 9
    assert len(family.trainings.ran) == 6 + 8 + 9


def test_several_people_at_once_plan_once(family: Family) -> None:
    family.search()
    for kind in ("replicates", "replicates", "confirm"):
        stages: list[Stage] = []
        threads = [threading.Thread(target=lambda to=stages: to.append(family.advance())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(stages) == 3
        assert sum(stage.planned for stage in stages) == max(stage.open for stage in stages)
        family.work(kind)  # type: ignore[arg-type]
    assert family.advance() == Stage("done", 1, 0)
    assert len(read_rounds(family)) == 1
    assert len(list_predictions(family.engine, family.bench.record.study_id)) == 4


def test_the_race_is_run_with_fresh_seeds_and_its_winner_is_confirmed(family: Family) -> None:
    family.search()
    family.confirm()
    plan, runs = read_plan(family), family.runs("replicates")
    means = {
        arm: sum(max(run.aurocs.values()) for run in runs if run.planned.arm == arm) / 2 for arm in plan.entrants
    }
    assert len(plan.entrants) == 2
    assert plan.arms["finalist"].label == max(plan.entrants, key=lambda arm: plan.entrants[arm])
    assert means.keys() == plan.entrants.keys()
    seeds = [request.seed for request in family.trainings.ran if request.parameters is not None]
    assert len(seeds) == len(set(seeds))
    assert plan.chosen_by == "race"
    finalist = {run.planned.parameters for run in family.runs("confirm") if run.planned.arm == "finalist"}
    assert finalist == {plan.arms["finalist"].parameters}
    assert {run.planned.scorer for run in family.runs("confirm")} == {arm.scorer for arm in plan.arms.values()}


def test_the_baseline_does_not_race_against_itself(family: Family) -> None:
    family.search()
    family.plan()
    reference = next(one for one in list_observed(family.store, family.bench.record) if one.parameters == V1_1)
    assert f"trial {reference.number}" not in count_arms(family, "replicates")


def test_a_finalist_that_a_person_names_needs_no_race(family: Family) -> None:
    family.search()
    named = list_observed(family.store, family.bench.record)[-1]
    family.confirm(finalist=named.number)
    plan = read_plan(family)
    assert plan.arms["finalist"].label == f"trial {named.number}"
    assert plan.arms["finalist"].parameters == named.parameters
    assert count_arms(family, "replicates") == {"v1.1": 3, "frozen": 1, f"trial {named.number}": 2}
    assert plan.chosen_by != "race"
    assert plan.search_value == named.value


@pytest.mark.parametrize("number", [0, 99])
def test_a_finalist_that_cannot_be_is_refused_before_anything_is_trained(store: Families, number: int) -> None:
    """The first one is the frozen network."""
    family = store.found(f"no-finalist-{number}")
    family.search()
    with pytest.raises(UsageError, match=f"trial {number} of no-finalist-{number}/tile has no parameters"):
        family.advance(finalist=number)
    assert len(family.bench.study().get_trials()) == len(family.trainings.ran)


def test_wishes_against_the_plan_are_refused_and_the_same_again_are_none(family: Family) -> None:
    family.search()
    family.plan(seeds=3)
    label = read_plan(family).arms["finalist"].label
    number = int(label.removeprefix("trial "))
    assert family.advance(seeds=3, finalist=number) == family.advance() == Stage("confirming", 1, 7)
    for wishes in ({"seeds": 4}, {"finalist": number + 1}, {"seeds": 3, "finalist": number + 1}):
        with pytest.raises(
            UsageError, match=f"was planned with {label} and 3 seeds, and is not changed"
        ) as refused:
            family.advance(**wishes)
        assert "--again" in str(refused.value.hint)
    assert len(read_rounds(family)) == 1


def test_a_further_round_is_asked_for_and_has_fresh_seeds(family: Family) -> None:
    with pytest.raises(UsageError, match="has no confirmation to repeat"):
        family.advance(again=True)
    family.search()
    family.plan()
    with pytest.raises(UsageError, match=r"round 1 of the confirmation of .* is not over yet"):
        family.advance(again=True)
    family.work("confirm")
    assert family.plan(again=True, seeds=3, reason="a reviewer asked") == Stage("confirming", 2, 7, planned=7)
    family.work("confirm")
    assert family.advance() == Stage("done", 2, 0)
    seeds = [{run.planned.seed for run in family.runs("confirm") if run.planned.round == n} for n in (1, 2)]
    assert [len(ours) for ours in seeds] == [9, 7]
    assert seeds[0].isdisjoint(seeds[1])
    assert [stored.round for stored in read_rounds(family)] == [1, 2]
    assert read_plan(family).reason == "a reviewer asked"
    assert len(family.look_rows()) == 16


def test_a_search_that_was_stopped_is_over(family: Family) -> None:
    for _ in range(4):
        family.bench.loop(family.trainings.run).take_turn()
    assert family.advance() == Stage("searching", 0, 2)
    set_state(family.engine, family.bench.record.study_id, "stopped", "by study stop")
    family.confirm()
    assert len(list_observed(family.store, family.bench.record)) == 3


@pytest.mark.parametrize("references", [["frozen", "v1.1"], ["frozen"]])
def test_references_alone_leave_nothing_to_confirm(store: Families, references: list[str]) -> None:
    search = {"trials": len(references)}
    family = store.found(f"only-{len(references)}", references=references, search=search)
    family.search()
    with pytest.raises(UsageError, match="there is nothing to confirm"):
        family.advance()
    assert len(family.trainings.ran) == len(references)


def test_a_frozen_baseline_is_one_model_and_a_trained_reference_tells_the_noise(store: Families) -> None:
    family = store.found("cold", verdict={"baseline": "frozen"})
    family.search()
    family.confirm()
    plan = read_plan(family)
    assert plan.arms.keys() == {"finalist", "baseline"}
    assert (plan.arms["baseline"].label, plan.arms["baseline"].parameters) == ("frozen", None)
    assert count_arms(family, "confirm", 1) == {"finalist": 4, "baseline": 1}
    assert count_arms(family, "replicates")["v1.1"] == 3


def test_a_spec_of_the_frozen_reference_alone_has_no_noise_floor(store: Families) -> None:
    family = store.found("coldest", references=["frozen"])
    family.search()
    family.confirm()
    assert count_arms(family, "replicates")["frozen"] == 1
    assert count_arms(family, "confirm", 1) == {"finalist": 4, "baseline": 1}


def test_a_baseline_that_equals_another_reference_is_trained_under_that_ones_name(store: Families) -> None:
    """v1.2 is v1.1 for a can, and not for fabric."""
    for category, label in (("can", "v1.1"), ("fabric", "v1.2")):
        references = ["frozen", "v1.1", "v1.2"]
        verdict = {"baseline": "v1.2"}
        family = store.found("second", category=category, references=references, verdict=verdict)
        family.search()
        family.confirm()
        arm = read_plan(family).arms["baseline"]
        assert (arm.label, arm.parameters) == (label, reference_parameters("v1.2", category, 64))
        assert count_arms(family, "replicates")[label] == 3


def test_noise_seeds_that_were_left_for_later_are_trained_by_then(store: Families) -> None:
    family = store.found("later", verdict={"noise_seeds": 0})
    family.search()
    assert family.advance() == Stage("replicating", 0, 4, planned=4)
    assert count_arms(family, "replicates") == {"v1.1": 3, "frozen": 1}


def test_predictions_are_written_with_the_plan_and_none_after_the_first_look(store: Families) -> None:
    family = store.found("foretold", better, category="fabric")
    study = family.bench.record
    assert predict(family.engine, study, 0.2, "a feeling", "an engineer") == 1
    family.search()
    family.plan()
    made = {one.source: one for one in list_predictions(family.engine, study.study_id)}
    assert list(made) == ["an engineer", "best trial", "race", "smoothed", "v1.2 rule"]
    assert made["v1.2 rule"].gain == RULE_PREDICTIONS["fabric"]
    assert {one.made_at for one in made.values() if one.source != "an engineer"} == {
        read_rounds(family)[0].made_at
    }
    plan = read_plan(family)
    standing = sum(plan.arms["baseline"].search_values) / 3
    assert made["race"].gain == plan.entrants[plan.arms["finalist"].label] - standing
    assert made["best trial"].gain == max(trial.value or 0 for trial in family.bench.study().trials) - standing
    assert predict(family.engine, study, -0.2, "", "a pessimist") == 1  # nobody has looked yet
    family.sibling("confirm").loop(family.trainings.run).take_turn()
    with pytest.raises(UsageError, match="have been opened: a prediction now could know the answer"):
        predict(family.engine, study, 0.1, "")
    entries = read_ledger(family.store, [study])
    assert [entry.judged for entry in entries] == [None] * 6
    family.work("confirm")
    judged = {entry.made.source: entry.judged for entry in read_ledger(family.store, [study])}
    assert len({one and one.confirmed for one in judged.values()}) == 1
    engineer, pessimist = judged["an engineer"], judged["a pessimist"]
    assert engineer is not None
    assert pessimist is not None
    assert engineer.confirmed > 0.2
    assert engineer.held
    assert not pessimist.is_direction_right


def test_a_prediction_for_a_sibling_is_refused(family: Family) -> None:
    family.search()
    family.plan()
    with pytest.raises(UsageError, match=r"#confirm is a sibling study") as refused:
        predict(family.engine, family.sibling("confirm").record, 0.1, "")
    assert family.name in str(refused.value.hint)


@pytest.mark.parametrize("arm", ["v1.1", "finalists"])
def test_without_a_replicate_nothing_can_be_planned(store: Families, arm: str) -> None:
    def diverge(request: TrialRequest) -> Exception | None:
        is_hit = not request.is_watched and request.parameters is not None
        return DivergedError("nan") if is_hit and (request.parameters == V1_1) is (arm == "v1.1") else None

    family = store.found(f"none-of-{arm}", fault=diverge)
    family.search()
    words = "no replicate of v1.1" if arm == "v1.1" else "no finalist of none-of-finalists/tile could be retrained"
    with pytest.raises(UsageError, match=words):
        family.plan()
    assert family.look_rows() == []


def test_an_entrant_that_lost_a_seed_loses_to_one_that_did_not(store: Families) -> None:
    hit: set[Any] = set()

    def diverge_once(request: TrialRequest) -> Exception | None:
        """The first racer of all, once."""
        p = request.parameters
        if request.is_watched or p in (None, V1_1) or hit:
            return None
        hit.add(p)
        return DivergedError("nan")

    family = store.found("one-lost", fault=diverge_once)
    family.search()
    family.plan()
    assert read_plan(family).arms["finalist"].parameters not in hit
