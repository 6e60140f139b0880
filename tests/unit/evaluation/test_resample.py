"""Draws of scenes and seeds: whole scenes, the same for all models, and differences as a plain loop has them."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyvfm_opt.evaluation.lights import compare_lights
from anomalyvfm_opt.evaluation.resample import (
    bootstrap_difference,
    bootstrap_models,
    draw_scene_counts,
    mean_auroc,
)

LABELS = np.repeat([0, 1], [12, 18])
SCENES = [f"{'bad' if label else 'good'}/{i // 3}" for i, label in enumerate(LABELS)]


def draw_arms(seed: int, labels: np.ndarray = LABELS, seeds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (seeds, len(labels))
    return rng.normal(size=shape) + 1.5 * labels, rng.normal(size=(seeds + 1, len(labels))) + labels


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=30), st.integers(0, 99))
def test_scenes_are_drawn_whole_and_within_their_label(images: list[tuple[int, int]], seed: int) -> None:
    labels = np.array([label for label, _ in images])
    scenes = [f"{label}/{scene}" for label, scene in images]
    counts = draw_scene_counts(labels, scenes, 20, seed)
    assert counts.shape == (20, len(images))
    for label in (0, 1):
        names = sorted({scene for scene, own in zip(scenes, labels, strict=True) if own == label})
        if not names:
            continue
        of_scene = [counts[:, [i for i, scene in enumerate(scenes) if scene == name]] for name in names]
        assert all((columns == columns[:, :1]).all() for columns in of_scene)
        assert (sum(columns[:, 0] for columns in of_scene) == len(names)).all()


def test_draws_depend_on_names_and_not_on_the_order_of_images() -> None:
    counts = draw_scene_counts(LABELS, SCENES, 50, 7)
    order = np.random.default_rng(0).permutation(len(LABELS))
    again = draw_scene_counts(LABELS[order], [SCENES[i] for i in order], 50, 7)
    np.testing.assert_array_equal(again, counts[:, order])
    assert (draw_scene_counts(LABELS, SCENES, 50, 8) != counts).any()
    np.testing.assert_array_equal(counts.mean(axis=0) > 0.5, True)
    known = [[1, 1, 1, 1, 0, 0, 2, 1, 3, 0], [1, 1, 2, 0, 2, 2, 1, 0, 0, 1]]  # on any host
    np.testing.assert_array_equal(draw_scene_counts(LABELS, SCENES, 2, 20261)[:, ::3], known)


def test_the_bootstrap_draws_what_a_plain_loop_draws() -> None:
    """Its quantiles against those of drawn images that are scored anew."""
    finalist, baseline = draw_arms(1)
    drawn = bootstrap_difference(finalist, baseline, LABELS, SCENES, 4000, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    plain = []
    for counts in draw_scene_counts(LABELS, SCENES, 4000, 3):
        images = np.repeat(np.arange(len(LABELS)), counts)
        means = [
            mean_auroc(arm[rng.integers(len(arm), size=len(arm))][:, images], LABELS[images]).mean()
            for arm in (finalist, baseline)
        ]
        plain.append(means[0] - means[1])
    levels = (0.025, 0.25, 0.5, 0.75, 0.975)
    np.testing.assert_allclose(np.quantile(drawn, levels), np.quantile(plain, levels), atol=0.012)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3))
def test_arms_turned_round_turn_differences_round(seed: int, levels: int) -> None:
    finalist, baseline = (np.round(arm * levels) for arm in draw_arms(seed))  # ties are the rule
    one, other = (
        bootstrap_difference(*arms, LABELS, SCENES, 5, np.random.default_rng(seed))
        for arms in ((finalist[:1], baseline[:1]), (baseline[:1], finalist[:1]))
    )
    np.testing.assert_allclose(one, -other, atol=1e-12)
    turned = bootstrap_difference(-finalist[:1], -baseline[:1], LABELS, SCENES, 5, np.random.default_rng(seed))
    np.testing.assert_allclose(turned, -one, atol=1e-12)


def test_each_scene_once_is_the_difference_itself() -> None:
    """With one scene a label there is nothing to draw, and with one model an arm no seed either."""
    finalist, baseline = (arm[:1] for arm in draw_arms(3))
    scenes = ["bad" if label else "good" for label in LABELS]
    drawn = bootstrap_difference(finalist, baseline, LABELS, scenes, 3, np.random.default_rng(0))
    gain = mean_auroc(finalist, LABELS) - mean_auroc(baseline, LABELS)
    np.testing.assert_allclose(drawn, np.repeat(gain, 3))


def test_two_thousand_draws_take_a_moment() -> None:
    labels = np.repeat([0, 1], 80)
    finalist, baseline = draw_arms(0, labels, seeds=5)
    start = time.process_time()
    bootstrap_difference(finalist, baseline, labels, [str(i) for i in range(160)], 2000, np.random.default_rng(0))
    assert time.process_time() - start < 2  # about 0.2 s


def test_models_are_drawn_anew_in_each_draw_and_arms_stay_paired() -> None:
    scenes = np.random.default_rng(0).normal(size=2000)  # what a draw of scenes does to all models
    steady = np.full((4, 1), 0.02) + scenes
    np.testing.assert_allclose(bootstrap_models(steady, 0 * steady + scenes, np.random.default_rng(1)), 0.02)
    moody = np.array([[-0.1], [0.1], [-0.1], [0.1]]) + scenes
    drawn = bootstrap_models(moody, steady[:1], np.random.default_rng(1))
    assert drawn.mean() == pytest.approx(-0.02, abs=0.005)
    assert drawn.std() == pytest.approx(0.1 / 2, rel=0.1)
    moody[:, 3] = np.nan
    assert np.flatnonzero(np.isnan(bootstrap_models(moody, steady, np.random.default_rng(1)))).tolist() == [3]


def test_a_gain_under_one_light_is_found_there() -> None:
    labels = np.tile(np.repeat([0, 1], 12), 2)
    scenes = [f"{label}/{i % 12}" for i, label in enumerate(labels)]
    lights: list[str | None] = ["regular"] * 24 + ["shift_1"] * 24
    rng = np.random.default_rng(4)
    baseline = rng.normal(size=(4, 48))
    finalist = rng.normal(size=(4, 48)) + 4 * labels * (np.arange(48) >= 24)
    found = compare_lights(finalist, baseline, labels, scenes, lights, 500, np.random.default_rng(0))
    assert list(found) == ["regular", "shift_1"]
    own = slice(24, 48)
    expected = mean_auroc(finalist[:, own], labels[own]).mean() - mean_auroc(baseline[:, own], labels[own]).mean()
    assert found["shift_1"].estimate == pytest.approx(expected)
    assert found["shift_1"].low > 0.2
    assert found["regular"].low < 0 < found["regular"].high
    assert (found["shift_1"].good_scenes, found["shift_1"].bad_scenes) == (12, 12)


def test_lights_of_a_single_scene_and_images_without_one_are_left_out() -> None:
    finalist, baseline = draw_arms(2)
    lights: list[str | None] = ["even" if i % 2 else None for i in range(30)]
    lights[0], lights[3], lights[12] = "rare", "rare", "rare"  # two good scenes, one bad
    found = compare_lights(finalist, baseline, LABELS, SCENES, lights, 50, np.random.default_rng(0))
    assert list(found) == ["even"]
    lights[15] = "rare"
    found = compare_lights(finalist, baseline, LABELS, SCENES, lights, 50, np.random.default_rng(0))
    assert list(found) == ["even", "rare"]
    assert (found["rare"].good_scenes, found["rare"].bad_scenes) == (2, 2)
