"""Differences of arms: their value, what moves their interval, and what cannot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.evaluation.resample import bootstrap_difference, mean_auroc
from anomalyvfm_opt.verdict.compare import Difference, Part, average, compare_arms

LABELS = np.repeat([0, 1], [12, 15])
SCENES = [f"scene {i}" for i in range(27)]


def draw_arm(seed: int, gap: float, seeds: int = 5, seed_sd: float = 0.1) -> np.ndarray:
    """Scores (seeds, 27) on images that both arms share."""
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(0).normal(size=len(LABELS))
    rows = [shared + (gap + rng.normal() * seed_sd) * LABELS + 0.3 * rng.normal(size=27) for _ in range(seeds)]
    return np.stack(rows)


def test_the_estimate_is_the_difference_of_mean_aurocs() -> None:
    finalist, baseline = draw_arm(1, 2.0), draw_arm(2, 1.0)
    found = compare_arms(finalist, baseline, LABELS, SCENES)
    assert found is not None
    expected = mean_auroc(finalist, LABELS).mean() - mean_auroc(baseline, LABELS).mean()
    assert found.estimate == pytest.approx(expected)
    low, high = found.interval(0.95)
    assert low < found.estimate < high
    assert [(part.source, part.freedom) for part in found.parts] == [("scenes", 11), ("seeds", 4), ("seeds", 4)]


def test_arms_turned_round_turn_the_interval_round() -> None:
    finalist, baseline = draw_arm(1, 2.0), draw_arm(2, 1.0)
    one, other = (compare_arms(*arms, LABELS, SCENES) for arms in ((finalist, baseline), (baseline, finalist)))
    assert one is not None
    assert other is not None
    assert one.interval(0.9) == pytest.approx(tuple(-value for value in reversed(other.interval(0.9))))


def test_more_lights_of_the_same_scenes_add_nothing() -> None:
    arms = draw_arm(1, 2.0), draw_arm(2, 1.0)
    once = compare_arms(*arms, LABELS, SCENES)
    thrice = compare_arms(*(np.tile(arm, 3) for arm in arms), np.tile(LABELS, 3), SCENES * 3)
    assert once is not None
    assert thrice is not None
    assert thrice.error == pytest.approx(once.error, rel=1e-6)
    as_if_new = [f"{scene} {i}" for i in range(3) for scene in SCENES]
    naive = compare_arms(*(np.tile(arm, 3) for arm in arms), np.tile(LABELS, 3), as_if_new)
    assert naive is not None
    assert naive.parts[0].variance < 0.5 * once.parts[0].variance


def test_seeds_that_differ_widen_the_interval() -> None:
    steady = compare_arms(draw_arm(1, 1.0, seed_sd=0.0), draw_arm(2, 1.0, seed_sd=0.0), LABELS, SCENES)
    moody = compare_arms(draw_arm(1, 1.0, seed_sd=1.0), draw_arm(2, 1.0, seed_sd=1.0), LABELS, SCENES)
    assert steady is not None
    assert moody is not None
    assert sum(part.variance for part in moody.parts[1:]) > 10 * sum(part.variance for part in steady.parts[1:])


def test_an_arm_without_seeds_has_no_seed_part() -> None:
    found = compare_arms(draw_arm(1, 1.0), draw_arm(2, 1.0, seeds=1), LABELS, SCENES)
    assert found is not None
    assert [part.source for part in found.parts] == ["scenes", "seeds"]


def test_arms_that_are_equal_are_not_certain_to_be() -> None:
    arm = draw_arm(1, 1.0)
    found = compare_arms(arm, arm, LABELS, SCENES)
    assert found is not None
    assert found.estimate == pytest.approx(0)
    assert found.parts[0].variance > 1e-5


def test_too_few_scenes_say_nothing() -> None:
    assert compare_arms(draw_arm(1, 1.0), draw_arm(2, 1.0), LABELS, ["one"] * 12 + SCENES[12:]) is None


def test_the_mean_over_categories_is_surer_than_each() -> None:
    one = Difference(0.02, (Part(4e-4, 5, "scenes"), Part(1e-4, 4, "seeds")))
    mean = average([one] * 4)
    assert mean.estimate == pytest.approx(0.02)
    assert mean.error == pytest.approx(one.error / 2)
    assert mean.freedom == pytest.approx(4 * one.freedom)
    assert [part.source for part in mean.parts] == ["scenes", "seeds"] * 4


@given(
    st.lists(st.tuples(st.floats(1e-8, 1e-2), st.floats(1, 50)), min_size=1, max_size=5),
    st.floats(0.5, 0.999),
    st.integers(1, 20),
)
def test_intervals_widen_with_confidence_and_with_what_is_judged(
    parts: list[tuple[float, float]], confidence: float, judged: int
) -> None:
    difference = Difference(0.0, tuple(Part(*part, "scenes") for part in parts))
    least, most = min(f for _, f in parts), sum(f for _, f in parts)
    assert least * (1 - 1e-9) <= difference.freedom <= most * (1 + 1e-9)
    low, high = difference.interval(confidence, judged)
    wider = difference.interval(confidence, judged + 1)
    assert wider[0] < low <= 0 <= high < wider[1]


def test_the_bootstrap_agrees_where_scenes_abound() -> None:
    labels, scenes = np.repeat([0, 1], 80), [str(i) for i in range(160)]
    rng = np.random.default_rng(5)
    shared = rng.normal(size=160)
    arms = [np.stack([shared + gap * labels + 0.5 * rng.normal(size=160) for _ in range(6)]) for gap in (1.5, 1.0)]
    found = compare_arms(*arms, labels, scenes)
    assert found is not None
    drawn = bootstrap_difference(*arms, labels, scenes, 400, np.random.default_rng(1))
    assert drawn.std() == pytest.approx(found.error, rel=0.25)
    assert drawn.mean() == pytest.approx(found.estimate, abs=found.error / 3)
