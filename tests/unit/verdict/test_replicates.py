"""Retrainings on search data: which are wanted, which are missing, and the noise floor that they show."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.verdict.replicates import (
    find_noise,
    list_missing,
    list_reference_retrainings,
    list_retrainings,
    name_baseline,
    name_noise_reference,
)
from anomalyvfm_opt.verdict.runs import Arm, group_arms
from tests.unit.verdict.cases import BETTER, V1_1, make_run, make_study


def test_references_are_the_baseline_with_seeds_of_its_own_and_the_frozen_network_once() -> None:
    wanted = list_reference_retrainings(make_study(), 4)
    assert [planned.arm for planned in wanted] == ["v1.1"] * 4 + [FROZEN]
    assert [planned.parameters for planned in wanted] == [V1_1] * 4 + [None]
    assert len({planned.seed for planned in wanted}) == 5


def test_where_the_baseline_is_frozen_a_trained_reference_tells_the_noise() -> None:
    study = make_study(baseline="frozen")
    assert (name_baseline(study), name_noise_reference(study)) == (FROZEN, "v1.1")


@given(st.integers(0, 6), st.integers(0, 6))
def test_more_seeds_keep_those_that_are_there(few: int, more: int) -> None:
    study = make_study()
    there = [make_run(planned) for planned in list_retrainings(study, {"v1.1": V1_1}, few)]
    wanted = list_retrainings(study, {"v1.1": V1_1}, more)
    missing = list_missing(wanted, there)
    assert missing == wanted[few:]
    assert list_missing(wanted, [*there, *map(make_run, missing)]) == []


def test_the_noise_takes_two_seeds_that_are_done() -> None:
    study = make_study()
    runs = [make_run(planned) for planned in list_reference_retrainings(study, 3)]
    noise = find_noise(study, runs)
    assert noise is not None
    assert (noise.reference, len(noise.floor.values)) == ("v1.1", 3)
    assert noise.open_seeds == 0
    waiting = [replace(run, is_done=False, outcome=None) for run in runs[1:]]
    assert find_noise(study, [runs[0], *waiting]) is None
    assert find_noise(study, []) is None


def test_the_noise_of_some_seeds_knows_how_many_are_still_to_come() -> None:
    study = make_study()
    runs = [make_run(planned) for planned in list_retrainings(study, {"v1.1": V1_1}, 4)]
    open_ = replace(runs[2], is_done=False, outcome=None)
    failed = replace(runs[3], is_done=False, outcome="diverged")
    noise = find_noise(study, [*runs[:2], open_, failed])
    assert noise is not None
    assert (len(noise.floor.values), noise.open_seeds) == (2, 1)


def test_an_arm_tells_what_is_done_what_failed_and_what_is_open() -> None:
    planned = [Planned("trial 3", BETTER, seed) for seed in range(3)]
    done, failed = make_run(planned[0]), make_run(planned[1], is_done=False, outcome="diverged")
    waiting = make_run(planned[2], is_done=False, outcome=None)
    (arm,) = group_arms([done, failed, waiting]).values()
    assert (arm.done, arm.failed) == ((done,), (failed,))
    assert [run.is_open for run in arm.runs] == [False, False, True]
    assert arm.mean_seconds() == 2.0


@given(st.permutations([("decoder", 0.7), ("ensemble", 0.9), ("patch_knn", 0.9)]))
def test_the_best_scorer_is_that_with_the_highest_mean_over_seeds(aurocs: list[tuple[str, float]]) -> None:
    lucky = make_run(Planned("v1.1", V1_1, 1), aurocs=dict(aurocs) | {"decoder": 1.0})
    usual = make_run(Planned("v1.1", V1_1, 2), aurocs=dict(aurocs))
    arm = Arm("v1.1", V1_1, (lucky, usual))
    assert arm.choose_scorer("best") == "ensemble"  # the first by name of those that are equal
    assert arm.choose_scorer("decoder") == "decoder"
    assert arm.choose_scorer("mahalanobis") == "ensemble"
    assert Arm("v1.1", V1_1, ()).choose_scorer("best") is None
