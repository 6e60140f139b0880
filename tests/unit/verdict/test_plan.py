"""What is decided before a lock is opened, and the retrainings that follow from it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST, FROZEN_ARM, ArmPlan, ConfirmationPlan, Terms
from anomalyvfm_opt.verdict.plan import list_trials, set_terms

V1_1 = reference_parameters("v1.1", "tile", 64)
_VALUES = st.floats(0, 1)


def make_spec(**verdict: Any) -> Spec:
    data = {"image_size_px": 64, "lock": "half"}
    return Spec.model_validate({"name": "x", "data": data, "search": {"trials": 5}, "verdict": verdict})


def make_arm(label: str, parameters: Parameters | None, *values: float) -> ArmPlan:
    return ArmPlan(label, parameters, "patch_knn", values)


def make_plan(seeds: int = 4, baseline: str = "v1.1", **changes: Any) -> ConfirmationPlan:
    assert V1_1 is not None
    arms = {FINALIST: make_arm("trial 7", replace(V1_1, rank=4), 0.9, 0.8)}
    if baseline == "frozen":
        arms[BASELINE] = make_arm("frozen", None, 0.6)
    else:
        arms |= {BASELINE: make_arm("v1.1", V1_1, 0.7), FROZEN_ARM: make_arm("frozen", None, 0.6)}
    terms = Terms(0.01, 0.95, None, 3)
    plan = ConfirmationPlan(
        arms, seeds, terms, "race", 0.91, (0.85, 0.02), {"trial 7": 0.85, "trial 3": 0.8}, "why not"
    )
    return replace(plan, **changes)


@given(
    _VALUES, _VALUES, st.lists(_VALUES, min_size=1, max_size=4).map(tuple), st.one_of(st.none(), st.floats(0.1, 9))
)
def test_it_comes_back_as_it_was(value: float, sd: float, values: tuple[float, ...], most: float | None) -> None:
    plan = make_plan(search_value=value, smoothed=(value, sd), terms=Terms(value, 0.9, most, 2))
    plan = replace(plan, arms={**plan.arms, FINALIST: replace(plan.arms[FINALIST], search_values=values)})
    assert ConfirmationPlan.from_json(json.loads(json.dumps(plan.to_json())), 64) == plan


def test_a_plan_from_before_all_parameters_had_a_size_has_that_of_the_spec() -> None:
    plan = make_plan()
    stored = json.loads(json.dumps(plan.to_json()))
    for arm in (FINALIST, BASELINE):
        stored["arms"][arm]["parameters"]["image_size_px"] = None
    read = ConfirmationPlan.from_json(stored, 64)
    assert read == plan
    assert read.arms[BASELINE].parameters == make_spec().reference("v1.1", "tile")


def test_every_retraining_has_a_seed_of_its_own() -> None:
    rounds = [list_trials(make_plan(50), make_spec(), f"x/{name}", n) for n in (1, 2) for name in ("can", "vial")]
    seeds = [trial.seed for trials in rounds for trial in trials]
    assert len(seeds) == len(set(seeds)) == 4 * (50 + 50 + 1)


def test_the_arms_are_trained_in_turn_and_the_frozen_network_is_looked_at_once() -> None:
    trials = list_trials(make_plan(3), make_spec(), "x/can", 2)
    assert [trial.arm for trial in trials] == ["finalist", "baseline", "frozen", *["finalist", "baseline"] * 2]
    assert {trial.round for trial in trials} == {2}
    assert all(trial.scorer == "patch_knn" for trial in trials)
    assert {trial.parameters for trial in trials if trial.arm == "baseline"} == {V1_1}


def test_a_frozen_baseline_is_one_model_too() -> None:
    trials = list_trials(make_plan(3, "frozen"), make_spec(), "x/can", 1)
    assert [trial.arm for trial in trials] == ["finalist", "baseline", "finalist", "finalist"]


def test_the_same_plan_lists_the_same_trials() -> None:
    lists = [list_trials(make_plan(), make_spec(), "x/can", 1) for _ in range(2)]
    assert lists[0] == lists[1]


@pytest.mark.parametrize("judged", [1, 8])
def test_the_terms_are_the_specs(judged: int) -> None:
    terms = set_terms(make_spec(min_gain=0.02, confidence=0.9, max_cost_ratio=2), judged)
    assert terms == Terms(min_gain=0.02, confidence=0.9, max_cost_ratio=2, judged=judged)
