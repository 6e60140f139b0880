"""Trials that somebody enqueued with Optuna's own call: what a study does not search is infeasible, and no bug."""

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import text

from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.study_state import read_state
from anomalyvfm_opt.trial.outcome import Outcome
from anomalyvfm_opt.trial.result import TrialRequest
from anomalyvfm_opt.trial.settle import Ended
from tests.integration.conftest import Bench, run_quickly
from tests.integration.program import Program
from tests.integration.trial_states import run_to_end

OUTSIDE: dict[str, tuple[dict[str, Any], str]] = {
    "a choice that there is not": ({"rank": 3}, "rank = 3, which is none of 2, 4, 8, 16, 32, 64"),
    "a choice of another type": ({"adapter": ["lora"]}, "adapter = ['lora'], which is none of"),
    "no choice at all": ({"adapter": None}, "adapter = None, which is none of"),
    "a number that is too large": (
        {"epochs": 10**9},
        "epochs = 1000000000, which is no whole number from 2 to 20",
    ),
    "a number that is not whole": ({"epochs": 2.5}, "epochs = 2.5, which is no whole number from"),
    "a number that is too small": ({"learning_rate": 0.0}, "learning_rate = 0.0, which is no number from 3e-05"),
    "text for a number": ({"learning_rate": "fast"}, "learning_rate = 'fast', which is no number from"),
    "a share below zero": ({"mix_u1": -0.1}, "mix_u1 = -0.1, which is no number from 0 to 1"),
    "a name that is misspelled": ({"learning_rte": 1e-3}, "learning_rte, which this study does not search"),
    "several at once": ({"rank": 3, "epochs": 0}, "rank = 3, which is none of 2, 4, 8, 16, 32, 64; epochs = 0"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_value_that_is_not_searched_is_infeasible_with_its_reason(bench: Bench, name: str) -> None:
    fixed, reason = OUTSIDE[name]
    ended: list[Ended] = []
    bench.study().enqueue_trial(fixed)
    run_to_end(bench.loop(ended=ended))
    (outside,) = [one for one in ended if one.outcome is Outcome.OUTSIDE_SPACE]
    assert f"it was enqueued with {reason}" in outside.message
    trial = bench.study().get_trials()[outside.number]
    assert (trial.state, trial.params) == (TrialState.PRUNED, {})
    assert trial.constraints == {"outside_space": 1.0}


def test_three_of_them_do_not_stop_the_study(bench: Bench) -> None:
    for fixed in ({"rank": 3}, {"adapter": "none of ours"}, {"epochs": -1}):
        bench.study().enqueue_trial(fixed)
    run_to_end(bench.loop())
    usage = count_usage(bench.engine, bench.record.study_id)
    assert read_state(bench.engine, bench.record.study_id).name == "active"
    assert (usage.complete, usage.pruned, usage.failed) == (3, 3, 0)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"reference": "v9"}, "it was enqueued as the reference 'v9', which there is not"),
        ({"planned": {"arm": "finalist", "scorer": "decoder"}}, "it was enqueued with a plan, which trials of"),
    ],
)
def test_an_attribute_that_the_study_knows_nothing_of_is_infeasible(
    bench: Bench, attributes: dict[str, Any], reason: str
) -> None:
    bench.study().enqueue_trial({}, user_attrs=attributes)
    ended: list[Ended] = []
    run_to_end(bench.loop(ended=ended))
    (outside,) = [one for one in ended if one.outcome is Outcome.OUTSIDE_SPACE]
    assert outside.message.startswith(reason)


def test_a_value_that_is_searched_is_run_in_its_own_type(bench: Bench) -> None:
    bench.study().enqueue_trial({"rank": 4.0, "epochs": 3.0, "learning_rate": 1e-4})
    seen: list[TrialRequest] = []

    def run(request: TrialRequest, progress: Any) -> Any:
        seen.append(request)
        return run_quickly(request, progress)

    run_to_end(bench.loop(run))
    (parameters,) = [
        one.parameters for one in seen if one.parameters is not None and one.parameters.learning_rate == 1e-4
    ]
    assert (parameters.rank, parameters.epochs) == (4, 3)
    assert (type(parameters.rank), type(parameters.epochs)) == (int, int)


def test_commands_show_such_a_trial_with_its_reason(program: Program) -> None:
    name = program.create_here("by-hand", references=["frozen"], search={"trials": 3})
    study = optuna.load_study(study_name=name, storage=program.store.storage)
    study.enqueue_trial({"rank": 5})
    done = program.run_here("worker", "run", "--study", name, "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert "outside_space" in done.stderr
    shown = program.run_here("study", "show", name)
    assert shown.returncode == 0, shown.stderr
    assert "it was enqueued with rank = 5, which is none of 4, 16" in " ".join(
        (shown.stdout + shown.stderr).split()
    )
    (failure,) = program.run_json("study", "show", name)["failures"]
    assert failure["outcome"] == "outside_space"


def test_a_trial_enqueued_into_a_sibling_is_infeasible(program: Program) -> None:
    name = program.create_here("in-sibling", references=["v1.1"], search={"trials": 1}, verdict={"noise_seeds": 3})
    sibling = f"{name}#replicates"
    planned = program.usage(sibling).waiting
    optuna.load_study(study_name=sibling, storage=program.store.storage).enqueue_trial({"rank": 4})
    with program.store.engine.begin() as connection:  # room for it
        connection.execute(
            text("UPDATE anomalyvfm_opt.study SET budget = budget + 1 WHERE study_id = :study_id"),
            {"study_id": program.record(sibling).study_id},
        )
    done = program.run_here("worker", "run", "--study", name, "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert f"it was enqueued by hand, and {sibling} has planned trials alone" in done.stderr
    usage = program.usage(sibling)
    assert (usage.complete, usage.pruned, usage.failed) == (planned, 1, 0)
