"""Judging a case: what makes a finalist be adopted, and what has no say in it."""

import dataclasses
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyvfm_opt.report.verdict_json import to_json
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST
from anomalyvfm_opt.verdict.evidence import ArmEvidence, Case, LockedImages
from anomalyvfm_opt.verdict.judge import CategoryVerdict, judge
from anomalyvfm_opt.verdict.judge_spec import judge_spec
from anomalyvfm_opt.verdict.runs import Arm
from tests.unit.verdict.cases import make_case, make_images

_WORTHS = st.floats(0.0, 6.0)  # how far apart the anomalous images stand, in SD of the normal ones
_SEEDS = st.integers(0, 2**32 - 1)
_COUNTS = st.integers(2, 5)
_few = settings(max_examples=25, deadline=None)  # each judges with two bootstraps


def draw_scores(worth: float, seeds: int, seed: int) -> np.ndarray:
    """Scores (seeds, n): hardness is the image's, and a little of it the model's."""
    labels = make_images().labels
    rng = np.random.default_rng(seed)
    scores: np.ndarray = (
        worth * labels + rng.normal(size=len(labels)) + 0.2 * rng.normal(size=(seeds, len(labels)))
    )
    return scores


def draw_case(worths: tuple[float, float], count: int, seed: int, **terms: float | None) -> Case:
    arms = [draw_scores(worth, count, seed + index) for index, worth in enumerate(worths)]
    return make_case(arms[0], arms[1], seconds=(3.0, 2.0), **terms)  # type: ignore[arg-type]


def reorder_runs(arm: ArmEvidence, order: list[int]) -> ArmEvidence:
    runs = dataclasses.replace(arm.runs, runs=tuple(arm.runs.runs[i] for i in order))
    return dataclasses.replace(arm, runs=runs, scores=arm.scores[order], values=arm.values[order])


def change(case: Case, arms: dict[str, ArmEvidence], images: LockedImages | None = None) -> Case:
    evidence = case.evidence
    changed = {**evidence.arms, **arms}
    return dataclasses.replace(
        case, evidence=dataclasses.replace(evidence, arms=changed, images=images or evidence.images)
    )


def assert_same_ruling(ours: CategoryVerdict, others: CategoryVerdict) -> None:
    assert (ours.ruling.verdict, ours.ruling.reason) == (others.ruling.verdict, others.ruling.reason)
    for bound in ("estimate", "low", "high"):
        assert getattr(ours.ruling, bound) == pytest.approx(getattr(others.ruling, bound), abs=1e-9)
    assert ours.luck.confirmed == pytest.approx(others.luck.confirmed, abs=1e-12)
    assert dataclasses.replace(ours.luck, confirmed=None) == dataclasses.replace(others.luck, confirmed=None)
    assert ours.roi == others.roi


@_few
@given(st.tuples(_WORTHS, _WORTHS), _COUNTS, _SEEDS, st.floats(0.0, 0.2), st.sampled_from([None, 1.0, 1.6]))
def test_only_a_lower_bound_above_what_is_asked_for_at_a_cost_that_is_allowed_is_adopted(
    worths: tuple[float, float], count: int, seed: int, min_gain: float, most: float | None
) -> None:
    found = judge(draw_case(worths, count, seed, min_gain=min_gain, max_cost_ratio=most))
    ruling = found.ruling
    assert ruling.low is not None
    is_cheap = most is None or (found.cost_ratio is not None and found.cost_ratio <= most)
    assert (ruling.verdict == "ADOPT") == (ruling.low > min_gain and is_cheap)
    assert found.cost_ratio == 1.5


@_few
@given(_WORTHS, _COUNTS, _SEEDS, st.floats(0.0, 0.2))
def test_an_arm_is_never_adopted_over_itself(worth: float, count: int, seed: int, min_gain: float) -> None:
    scores = draw_scores(worth, count, seed)
    found = judge(make_case(scores, scores, min_gain=min_gain))
    assert found.ruling.verdict != "ADOPT"
    assert found.ruling.estimate == pytest.approx(0, abs=1e-12)


@_few
@given(st.tuples(_WORTHS, _WORTHS), _COUNTS, _SEEDS, st.floats(0.0, 0.2), st.floats(0.0, 0.2))
def test_who_asks_for_more_adopts_no_more(
    worths: tuple[float, float], count: int, seed: int, one: float, other: float
) -> None:
    little, much = sorted((one, other))
    at_little, at_much = (judge(draw_case(worths, count, seed, min_gain=gain)).ruling for gain in (little, much))
    assert (at_little.low, at_little.high) == (at_much.low, at_much.high)
    assert at_much.verdict != "ADOPT" or at_little.verdict == "ADOPT"
    assert at_little.reason != "no_gain" or at_much.reason == "no_gain"


@_few
@given(st.tuples(_WORTHS, _WORTHS), _COUNTS, _SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_runs_and_images_decides_nothing(
    worths: tuple[float, float], count: int, seed: int, random: Random
) -> None:
    case = draw_case(worths, count, seed)
    order, places = list(range(count)), list(range(len(case.evidence.images.keys)))
    random.shuffle(order)
    random.shuffle(places)
    images = case.evidence.images
    moved = LockedImages(
        keys=tuple(images.keys[i] for i in places),
        labels=images.labels[places],
        scenes=tuple(images.scenes[i] for i in places),
        lights=tuple(images.lights[i] for i in places),
    )
    arms = {name: reorder_runs(case.evidence.arms[name], order) for name in (FINALIST, BASELINE)}
    arms = {**case.evidence.arms, **arms}
    arms = {name: dataclasses.replace(arm, scores=arm.scores[:, places]) for name, arm in arms.items()}
    shuffled = dataclasses.replace(change(case, arms, moved), observed=case.observed[::-1])
    assert_same_ruling(judge(case), judge(shuffled))


def test_the_same_case_gives_the_same_verdict() -> None:
    case = draw_case((3.0, 0.5), 4, 7)
    assert to_json(judge(case)) == to_json(judge(case))


def test_an_arm_without_models_leaves_nothing_to_compare() -> None:
    case = draw_case((3.0, 0.5), 4, 7)
    finalist = case.evidence.arms[FINALIST]
    lost = dataclasses.replace(
        finalist,
        runs=Arm("arm", finalist.plan.parameters, ()),
        scores=finalist.scores[:0],
        values=finalist.values[:0],
    )
    found = judge(change(case, {FINALIST: lost}))
    assert (found.ruling.reason, found.difference, found.bootstrap) == ("no_models", None, None)
    assert found.luck.confirmed is None


def test_predictions_of_this_round_are_judged_and_those_of_others_are_not() -> None:
    arms = draw_scores(5.0, 4, 1), draw_scores(0.5, 4, 2)
    found = judge(make_case(*arms, predicted=(0.05, -0.05)))
    assert [(one.prediction.gain, one.is_direction_right) for one in found.predictions] == [
        (0.05, True),
        (-0.05, False),
    ]
    assert {one.confirmed for one in found.predictions} == {found.ruling.estimate}


@_few
@given(st.lists(st.tuples(_WORTHS, _WORTHS), min_size=2, max_size=3), _SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_categories_decides_nothing(
    worths: list[tuple[float, float]], seed: int, random: Random
) -> None:
    cases = [draw_case(both, 3, seed) for both in worths]
    mixed = list(cases)
    random.shuffle(mixed)
    ours, others = judge_spec(cases).ruling, judge_spec(mixed).ruling
    assert (ours.verdict, ours.reason) == (others.verdict, others.reason)
    assert ours.estimate == pytest.approx(others.estimate, abs=1e-12)


def test_a_spec_adds_up_trainings_and_takes_the_mean_of_an_image() -> None:
    """Each category is retrained; an image is of one category."""
    one = draw_case((1.0, 0.5), 3, 1)
    slow = {name: slow_down(arm, 0.05) for name, arm in one.evidence.arms.items()}
    found = judge_spec([one, change(one, slow), one]).roi
    assert (found.finalist.training_s, found.baseline.training_s) == (9.0, 6.0)
    assert found.finalist.inference_s == pytest.approx((0.01 + 0.05 + 0.01) / 3)
    assert found.inference_ratio == pytest.approx(1.0)
    assert found.unit == "CPU"


def test_hours_on_several_kinds_of_device_are_those_of_workers() -> None:
    one = draw_case((1.0, 0.5), 3, 1)
    stored = dataclasses.replace(one.evidence.stored, device="NVIDIA H200")
    other = dataclasses.replace(one, evidence=dataclasses.replace(one.evidence, stored=stored))
    assert judge_spec([one, other]).roi.unit == "worker"
    assert judge_spec([other, other]).roi.unit == "GPU"


def slow_down(arm: ArmEvidence, seconds: float) -> ArmEvidence:
    runs = tuple(
        dataclasses.replace(run, record=dataclasses.replace(run.record, inference_s_per_image=seconds))
        for run in arm.runs.runs
    )
    return dataclasses.replace(arm, runs=dataclasses.replace(arm.runs, runs=runs))
