"""What a confirmation does next, from states that no store was read for."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.store.budget import Usage
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST, FROZEN_ARM
from anomalyvfm_opt.store.confirmations import StoredConfirmation
from anomalyvfm_opt.verdict.next_step import (
    ConfirmationState,
    PlanReplicates,
    PlanRound,
    Stage,
    Wishes,
    decide_next,
)
from anomalyvfm_opt.verdict.plan import list_trials
from anomalyvfm_opt.verdict.replicates import list_missing
from anomalyvfm_opt.verdict.runs import Run
from tests.unit.verdict.cases import V1_1, make_observed, make_run, make_study

DONE = Usage(complete=6, pruned=0, failed=0, running=0, waiting=0, held=0, budget=6)


def make_state(**changes: Any) -> ConfirmationState:
    """A search that is over, and nothing after it."""
    state = ConfirmationState(
        study=make_study(),
        usage=DONE,
        is_stopped=False,
        rounds=(),
        last_look=0,
        confirm_runs=(),
        replicates=(),
        observed=make_observed(),
        judged=1,
        person="a person",
    )
    return replace(state, **changes)


def train(state: ConfirmationState, step: PlanReplicates, **changes: Any) -> ConfirmationState:
    """The state after the retrainings were planned, and done unless changes say otherwise."""
    new = tuple(make_run(planned, **changes) for planned in list_missing(step.retrainings, state.replicates))
    return replace(state, replicates=state.replicates + new)


def race(state: ConfirmationState, wishes: Wishes = Wishes()) -> tuple[ConfirmationState, PlanRound]:  # noqa: B008
    """From a finished search to the plan of a round, with all replicates done."""
    while isinstance(step := decide_next(state, wishes), PlanReplicates):
        state = train(state, step)
    assert isinstance(step, PlanRound)
    return state, step


def write_down(state: ConfirmationState, step: PlanRound, **changes: Any) -> ConfirmationState:
    """The state after a round was written down, and done unless changes say otherwise."""
    stored = StoredConfirmation(step.number, step.plan.to_json(), "", datetime(2026, 1, 2, tzinfo=UTC), "a person")
    trials = list_trials(step.plan, state.study.spec, state.study.name, step.number)
    runs = tuple(make_run(planned, **changes) for planned in trials)
    return replace(state, rounds=(*state.rounds, stored), confirm_runs=state.confirm_runs + runs)


def test_a_search_that_is_not_over_is_waited_for() -> None:
    usage = replace(DONE, complete=3, held=1)
    assert decide_next(make_state(usage=usage), Wishes()) == Stage("searching", 0, 3)
    stopped = make_state(usage=replace(DONE, complete=3), is_stopped=True)
    assert isinstance(decide_next(stopped, Wishes()), PlanReplicates)


def test_the_noise_floor_and_the_frozen_network_come_first() -> None:
    step = decide_next(make_state(), Wishes())
    assert isinstance(step, PlanReplicates)
    assert [planned.arm for planned in step.retrainings] == ["v1.1"] * 3 + [FROZEN]
    waiting = train(make_state(), step, is_done=False, outcome=None)
    assert decide_next(waiting, Wishes()) == Stage("replicating", 0, 4)


def test_the_finalists_race_when_the_noise_is_known_and_the_winner_is_planned() -> None:
    state = make_state()
    first = decide_next(state, Wishes())
    assert isinstance(first, PlanReplicates)
    state = train(state, first)
    second = decide_next(state, Wishes())
    assert isinstance(second, PlanReplicates)
    assert len({planned.arm for planned in second.retrainings}) == 2
    assert "trial 1" not in {planned.arm for planned in second.retrainings}  # the baseline's own parameters
    waiting = train(state, second, is_done=False, outcome=None)
    assert decide_next(waiting, Wishes()) == Stage("replicating", 0, 4)
    _, step = race(state)
    assert step.number == 1
    assert step.plan.arms.keys() == {FINALIST, BASELINE, FROZEN_ARM}
    assert step.plan.arms[FINALIST].label == max(step.plan.entrants, key=lambda arm: step.plan.entrants[arm])
    assert [one.source for one in step.predictions] == ["best trial", "smoothed", "race", "v1.2 rule"]
    assert (step.plan.chosen_by, step.plan.seeds) == ("race", 4)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(8)), st.permutations(range(5)))
def test_the_order_of_trials_decides_nothing(runs: list[int], trials: list[int]) -> None:
    state, step = race(make_state())
    mixed = replace(
        state,
        replicates=tuple(state.replicates[i] for i in runs),
        observed=tuple(state.observed[i] for i in trials),
    )
    other = decide_next(mixed, Wishes())
    assert isinstance(other, PlanRound)
    assert other.plan.arms[FINALIST].label == step.plan.arms[FINALIST].label
    assert other.plan.entrants == pytest.approx(step.plan.entrants)
    for ours, others in zip(step.predictions, other.predictions, strict=True):
        assert (ours.source, ours.gain) == (others.source, pytest.approx(others.gain, abs=1e-4))


@pytest.mark.parametrize("at", range(3))
def test_the_same_state_asks_for_the_same(at: int) -> None:
    state = make_state()
    for _ in range(at):
        step = decide_next(state, Wishes())
        if isinstance(step, PlanReplicates):
            state = train(state, step)
    assert decide_next(state, Wishes()) == decide_next(state, Wishes())


def test_a_finalist_that_a_person_names_needs_no_race() -> None:
    _, step = race(make_state(), Wishes(finalist=3, seeds=7, reason="a hunch"))
    assert step.plan.arms[FINALIST].label == "trial 3"
    assert step.plan.arms[FINALIST].parameters == make_observed()[2].parameters
    assert (step.plan.chosen_by, step.plan.seeds, step.plan.reason) == ("a person", 7, "a hunch")
    with pytest.raises(UsageError, match="trial 99 of x/tile has no parameters"):
        decide_next(make_state(), Wishes(finalist=99))


def test_the_baseline_alone_leaves_nothing_to_confirm() -> None:
    with pytest.raises(UsageError, match="there is nothing to confirm"):
        decide_next(make_state(observed=make_observed()[:1]), Wishes())


def test_a_round_is_followed_and_wishes_against_its_plan_are_refused() -> None:
    state, step = race(make_state())
    waiting = write_down(state, step, is_done=False, outcome=None)
    assert decide_next(waiting, Wishes()) == Stage("confirming", 1, 9)
    number = int(step.plan.arms[FINALIST].label.removeprefix("trial "))
    assert decide_next(waiting, Wishes(finalist=number, seeds=4)) == Stage("confirming", 1, 9)
    for wishes in (Wishes(seeds=5), Wishes(finalist=number + 1)):
        with pytest.raises(UsageError, match="and is not changed any more"):
            decide_next(waiting, wishes)
    assert decide_next(write_down(state, step), Wishes()) == Stage("done", 1, 0)


def test_a_further_round_follows_the_last_one_once_that_is_over() -> None:
    with pytest.raises(UsageError, match="no confirmation to repeat"):
        decide_next(make_state(), Wishes(again=True))
    state, step = race(make_state())
    with pytest.raises(UsageError, match="round 1 of the confirmation of x/tile is not over yet"):
        decide_next(write_down(state, step, is_done=False, outcome=None), Wishes(again=True))
    again = decide_next(write_down(state, step), Wishes(again=True))
    assert isinstance(again, PlanRound)
    assert again.number == 2


def test_a_study_that_is_made_anew_counts_on_from_the_looks_of_the_old_one() -> None:
    _, step = race(make_state(last_look=2))
    assert step.number == 3


def test_an_entrant_that_lost_a_seed_loses_to_one_that_did_not() -> None:
    state, step = race(make_state())
    winner = step.plan.arms[FINALIST].label
    lost = next(run for run in state.replicates if run.planned.arm == winner)
    other = decide_next(fail(state, [lost]), Wishes())
    assert isinstance(other, PlanRound)
    assert other.plan.arms[FINALIST].label != winner


@pytest.mark.parametrize("changes", [{"parameters": None}, {"arm": "trial x"}, {"arm": "trial 999"}])
def test_an_entrant_that_is_none_of_ours_does_not_race(changes: dict[str, Any]) -> None:
    state, step = race(make_state())
    winner = step.plan.arms[FINALIST].label
    runs = [
        replace(run, planned=replace(run.planned, **changes)) if run.planned.arm == winner else run
        for run in state.replicates
    ]
    lost = replace(state, replicates=tuple(runs))
    if "arm" in changes:  # the winner's own trainings are planned anew
        lost = replace(lost, replicates=lost.replicates + tuple(r for r in state.replicates if r not in runs))
    other = decide_next(lost, Wishes())
    assert isinstance(other, PlanRound)
    assert (other.plan.arms[FINALIST].label == winner) is ("arm" in changes)


@pytest.mark.parametrize("is_baseline", [True, False])
def test_without_a_replicate_nothing_is_planned(is_baseline: bool) -> None:
    state, _ = race(make_state())
    lost = [run for run in state.replicates if (run.planned.parameters == V1_1) is is_baseline]
    words = "no replicate of v1.1" if is_baseline else "no finalist of x/tile could be retrained"
    with pytest.raises(UsageError, match=words):
        decide_next(fail(state, [run for run in lost if run.planned.arm != FROZEN]), Wishes())


def fail(state: ConfirmationState, lost: list[Run]) -> ConfirmationState:
    """The state with some retrainings failed for good."""
    runs = [replace(run, is_done=False, outcome="diverged") if run in lost else run for run in state.replicates]
    return replace(state, replicates=tuple(runs))
