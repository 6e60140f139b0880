"""A verdict as JSON, of numbers that were worked out by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from anomalyvfm_opt.evaluation.lights import LightGain
from anomalyvfm_opt.report.verdict_json import category_to_json, spec_to_json, to_json
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST
from anomalyvfm_opt.store.looks import Opening
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.verdict.decide import Both, Need
from anomalyvfm_opt.verdict.judge_spec import SpecVerdict
from anomalyvfm_opt.verdict.roi import ArmCost
from tests.unit.report.verdicts import ADOPTED, make_verdict
from tests.unit.verdict.cases import V1_1

FOUND = make_verdict()


def test_it_is_json_without_numbers_that_are_none() -> None:
    shown = category_to_json(FOUND)
    assert json.loads(json.dumps(shown, allow_nan=False))["schema"] == 1
    assert to_json(FOUND) == shown


def test_the_ruling_and_the_round_are_as_they_were_decided() -> None:
    found = replace(FOUND, openings=(Opening("x/tile#confirm", 1, 5), Opening("y/tile#confirm", 1, 4)))
    shown = category_to_json(found)
    assert (shown["study"], shown["category"]) == ("x/tile", "tile")
    assert (shown["verdict"], shown["reason"], shown["confidence"]) == ("ADOPT", "gain", 0.95)
    assert shown["gain"] == {"estimate": 0.15, "low": 0.05, "high": 0.25}
    assert (shown["looks"], shown["scorings"], len(shown["doubts"])) == (2, 9, 1)
    assert (shown["round"], shown["chosen_by"], shown["planned_by"]) == (1, "race", "a person")
    assert shown["planned_at"] == "2026-01-02T00:00:00+00:00"
    assert shown["scenes"] == {"good": 10, "bad": 10}


@pytest.mark.parametrize(
    ("need", "shown"),
    [
        (None, None),
        (Need(9, None), {"seeds": 9, "scene_factor": None, "together": None}),
        (
            Need(None, 1.5, Both(7, 1.4)),
            {"seeds": None, "scene_factor": 1.5, "together": {"seeds": 7, "scene_factor": 1.4}},
        ),
    ],
)
def test_what_would_decide_it_is_named_where_it_was_projected(
    need: Need | None, shown: dict[str, object] | None
) -> None:
    assert category_to_json(replace(FOUND, ruling=replace(ADOPTED, need=need)))["need"] == shown


def test_an_arm_has_the_values_of_its_models_and_what_became_of_its_seeds() -> None:
    evidence = FOUND.evidence
    arm = evidence.arms[BASELINE]
    lost = replace(arm.runs.runs[0], is_done=False, outcome="lost", record=TrialRecord(seconds=99.0))
    arm = replace(arm, runs=replace(arm.runs, runs=(*arm.runs.runs, lost)), au_pro=np.array([0.3, 0.5]))
    shown = category_to_json(replace(FOUND, evidence=replace(evidence, arms={**evidence.arms, BASELINE: arm})))
    assert shown["baseline"] == {
        "label": "arm",
        "params": vars(V1_1),
        "scorer": "ensemble",
        "values": [0.9, 0.8],
        "mean": pytest.approx(0.85),
        "au_pro_005": pytest.approx(0.4),
        "failed_seeds": 1,
        "seconds": 2.0,
        "inference_s_per_image": pytest.approx(0.01),
    }
    assert (shown["finalist"]["values"], shown["finalist"]["au_pro_005"], shown["seeds"]) == ([1.0, 1.0], None, 2)
    assert (shown["frozen"]["params"], shown["frozen"]["values"]) == (None, [0.9])


def test_arms_that_are_not_there_or_have_no_model_are_null() -> None:
    arms = {name: FOUND.evidence.arms[name] for name in (FINALIST, BASELINE)}
    arms[FINALIST] = replace(arms[FINALIST], values=np.empty(0))
    shown = category_to_json(replace(FOUND, evidence=replace(FOUND.evidence, arms=arms)))
    assert (shown["frozen"], shown["seeds"]) == (None, 0)
    assert (shown["finalist"]["values"], shown["finalist"]["mean"]) == ([], None)


def test_views_that_were_not_to_be_had_are_null_and_a_single_light_is_told() -> None:
    light = LightGain(estimate=0.1, low=0.0, high=0.2, good_scenes=5, bad_scenes=6)
    found = replace(FOUND, bootstrap=None, au_pro=None, noise=None, lights={"dark": light})
    shown = category_to_json(found)
    assert (shown["bootstrap"], shown["au_pro_005"], shown["noise"]) == (None, None, None)
    assert shown["lights"] == {"dark": {"estimate": 0.1, "low": 0.0, "high": 0.2}}


def test_the_noise_and_the_search_stand_in_full() -> None:
    shown = category_to_json(FOUND)
    assert shown["noise"] == {
        "reference": "v1.1",
        "scorer": "ensemble",
        "values": [0.8, 0.801, 0.802],
        "sd": pytest.approx(0.001),
        "least_difference": pytest.approx(0.004968, abs=1e-6),
    }
    assert shown["search"] == {
        "trials": 5,
        "best_of_none": pytest.approx(0.00116296, abs=1e-8),
        "search_value": 0.9,
        "race_mean": pytest.approx(0.805),
        "confirmed": 1.0,
        "shrinkage": pytest.approx(-0.1),
    }


def test_the_cost_is_that_of_search_race_and_confirmation_together() -> None:
    priced = replace(FOUND.roi, price_per_gpu_hour=36.0)
    assert category_to_json(replace(FOUND, roi=priced))["roi"] == {
        "search_gpu_seconds": 6.0,
        "race_gpu_seconds": 4.0,
        "confirmation_gpu_seconds": 9.0,
        "training_ratio": 1.5,
        "inference_ratio": 1.0,
        "gain_per_gpu_hour": pytest.approx(0.15 * 3600 / 19),
        "money": pytest.approx(0.19),
    }
    unknown = category_to_json(replace(FOUND, ruling=replace(ADOPTED, estimate=None)))["roi"]
    assert (unknown["gain_per_gpu_hour"], unknown["money"]) == (None, None)


def test_a_spec_has_the_mean_and_every_category_and_the_dearer_of_its_ratios() -> None:
    roi = replace(FOUND.roi, finalist=ArmCost(2.0, 0.03), baseline=ArmCost(1.0, 0.01))
    found = SpecVerdict("x", replace(ADOPTED, estimate=0.2), FOUND.difference, 0.12, roi, [FOUND, FOUND])
    shown = to_json(found)
    assert shown == spec_to_json(found)
    assert (shown["spec"], shown["gain"]["estimate"], shown["smallest_gain"]) == ("x", 0.2, 0.12)
    assert shown["cost_ratio"] == pytest.approx(3.0)
    assert shown["categories"] == [category_to_json(FOUND)] * 2
