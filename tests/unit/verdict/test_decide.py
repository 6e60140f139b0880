"""The ruling: each verdict with its reason, at its boundaries, and the projection of what would decide it."""

import dataclasses
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from anomalyvfm_opt.store.confirmation_plan import Terms
from anomalyvfm_opt.verdict.compare import Difference, Part, average
from anomalyvfm_opt.verdict.decide import (
    LEAST_SCENES,
    MOST_SCENES,
    MOST_SEEDS,
    Need,
    decide,
    project,
    smallest_gain,
)
from anomalyvfm_opt.verdict.resolution import assume_difference, resolve

TERMS = Terms(min_gain=0.01, confidence=0.95, max_cost_ratio=None, judged=1)
SCENES = (8, 15)
_ESTIMATES = st.floats(-0.5, 0.5)
_SDS = st.floats(1e-4, 0.1)


def make_difference(
    estimate: float, scene_sd: float = 0.01, seed_sd: float = 0.01, seeds: int = 5, scenes: float = 40
) -> Difference:
    arm = Part(seed_sd**2 / seeds, seeds - 1, "seeds")
    return Difference(estimate, (Part(scene_sd**2, scenes - 1, "scenes"), arm, arm))


def test_a_gain_above_what_is_asked_for_is_adopted() -> None:
    ruling = decide(make_difference(0.08), TERMS, 3.0, SCENES)
    assert (ruling.verdict, ruling.reason) == ("ADOPT", "gain")
    assert ruling.low is not None
    assert ruling.low > 0.01
    assert f"{ruling.low:+.4f}" in ruling.action
    assert ruling.action.startswith("adopt")


def test_no_gain_keeps_the_baseline() -> None:
    ruling = decide(make_difference(-0.05), TERMS, 0.5, SCENES)
    assert (ruling.verdict, ruling.reason) == ("KEEP_BASELINE", "no_gain")
    assert ruling.high is not None
    assert ruling.high < 0.01


def test_a_gain_that_is_sure_and_too_small_keeps_the_baseline() -> None:
    ruling = decide(make_difference(0.005, 0.001, 0.001), TERMS, 1.0, SCENES)
    assert ruling.reason == "no_gain"
    assert ruling.low is not None
    assert ruling.low > 0


@pytest.mark.parametrize(
    ("cost_ratio", "most", "reason"),
    [(1.5, 1.5, "gain"), (1.51, 1.5, "cost"), (None, 1.5, "cost"), (math.nan, 1.5, "cost"), (None, None, "gain")],
)
def test_a_real_gain_may_be_too_dear(cost_ratio: float | None, most: float | None, reason: str) -> None:
    terms = dataclasses.replace(TERMS, max_cost_ratio=most)
    ruling = decide(make_difference(0.08), terms, cost_ratio, SCENES)
    assert ruling.reason == reason
    assert ruling.verdict == ("ADOPT" if reason == "gain" else "KEEP_BASELINE")


def test_what_is_too_dear_says_both_figures_and_what_is_not_known_says_so() -> None:
    terms = dataclasses.replace(TERMS, max_cost_ratio=1.5)
    dear, unknown = (decide(make_difference(0.08), terms, ratio, SCENES).action for ratio in (2.25, None))
    assert "2.25x" in dear
    assert "1.50x" in dear
    assert "not known" in unknown


def test_no_cost_saves_what_has_no_gain() -> None:
    terms = dataclasses.replace(TERMS, max_cost_ratio=1.5)
    assert decide(make_difference(-0.05), terms, 9.0, SCENES).reason == "no_gain"
    assert decide(make_difference(0.01), terms, 9.0, SCENES).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize("scenes", [(3, 15), (15, 3), (0, 0)])
def test_a_category_of_few_scenes_is_never_ruled_on(scenes: tuple[int, int]) -> None:
    for estimate in (-0.3, 0.0, 0.3):
        ruling = decide(make_difference(estimate), TERMS, 1.0, scenes)
        assert (ruling.verdict, ruling.reason) == ("INCONCLUSIVE", "too_few_scenes")
        assert ruling.estimate == estimate
        assert ruling.low is not None
        assert f"{scenes[0]} good, {scenes[1]} bad" in ruling.action
    enough = (max(scenes[0], LEAST_SCENES), max(scenes[1], LEAST_SCENES))
    assert decide(make_difference(0.3), TERMS, 1.0, enough).verdict == "ADOPT"


def test_a_mean_is_ruled_on_whatever_the_scenes_of_its_categories() -> None:
    mean = average([make_difference(0.08, scenes=2)] * 8)
    assert decide(mean, TERMS, 1.0, None).verdict == "ADOPT"


@pytest.mark.parametrize("scenes", [None, (1, 15)])
def test_no_difference_is_too_few_scenes(scenes: tuple[int, int] | None) -> None:
    ruling = decide(None, TERMS, 1.0, scenes)
    assert (ruling.verdict, ruling.reason) == ("INCONCLUSIVE", "too_few_scenes")
    assert (ruling.estimate, ruling.low, ruling.high) == (None, None, None)
    assert ruling.action.startswith("keep the baseline; ")


def test_one_seed_an_arm_is_never_ruled_on() -> None:
    difference = Difference(0.3, (Part(1e-6, 20, "scenes"),))
    ruling = decide(difference, TERMS, 1.0, SCENES)
    assert (ruling.verdict, ruling.reason) == ("INCONCLUSIVE", "too_few_seeds")


@given(_ESTIMATES, _SDS, _SDS, st.integers(1, 10), st.floats(0.5, 0.999))
def test_the_interval_that_is_shown_decides(
    estimate: float, scene_sd: float, seed_sd: float, judged: int, confidence: float
) -> None:
    difference = make_difference(estimate, scene_sd, seed_sd)
    terms = Terms(0.01, confidence, None, judged)
    ruling = decide(difference, terms, 1.0, SCENES)
    assert (ruling.low, ruling.high) == difference.interval(confidence, judged)
    assert (ruling.confidence, ruling.judged) == (confidence, judged)
    assert ruling.low is not None
    assert ruling.high is not None
    verdicts = {"ADOPT": ruling.low > 0.01, "KEEP_BASELINE": ruling.high < 0.01}
    assert [name for name, is_so in verdicts.items() if is_so] == (
        [] if ruling.verdict == "INCONCLUSIVE" else [ruling.verdict]
    )
    assert (ruling.need is None) == (ruling.verdict != "INCONCLUSIVE")
    assert ruling.action.startswith("adopt" if ruling.verdict == "ADOPT" else "keep the baseline")


def test_more_that_are_judged_ask_for_more() -> None:
    difference = make_difference(0.04)
    assert decide(difference, TERMS, 1.0, SCENES).verdict == "ADOPT"
    assert decide(difference, dataclasses.replace(TERMS, judged=8), 1.0, SCENES).verdict == "INCONCLUSIVE"


@given(_ESTIMATES, st.floats(1e-4, 0.02), _SDS, st.integers(2, 12), st.integers(1, 8))
def test_the_seeds_that_are_named_decide_and_one_fewer_does_not(
    estimate: float, scene_sd: float, seed_sd: float, seeds: int, judged: int
) -> None:
    terms = dataclasses.replace(TERMS, judged=judged)
    difference = make_difference(estimate, scene_sd, seed_sd, seeds)
    ruling = decide(difference, terms, 1.0, SCENES)
    assume(ruling.need is not None)
    assert ruling.need == project(difference, terms, seeds)
    assert ruling.need is not None
    found = ruling.need.seeds
    assert ruling.reason == ("too_few_scenes" if found is None else "too_few_seeds")
    if found is None:
        most = decide(make_difference(estimate, scene_sd, seed_sd, MOST_SEEDS), terms, 1.0, SCENES)
        assert most.verdict == "INCONCLUSIVE"
        return
    assert found > seeds
    assert f"{found} seeds an arm" in ruling.action
    assert decide(make_difference(estimate, scene_sd, seed_sd, found), terms, 1.0, SCENES).need is None
    assert decide(make_difference(estimate, scene_sd, seed_sd, found - 1), terms, 1.0, SCENES).need is not None


@given(_ESTIMATES, _SDS, st.floats(1e-4, 0.02), st.integers(4, 60))
def test_the_scenes_that_are_named_decide_and_a_tenth_fewer_do_not(
    estimate: float, scene_sd: float, seed_sd: float, scenes: int
) -> None:
    def grow(factor: float) -> Difference:
        return make_difference(estimate, scene_sd / math.sqrt(factor), seed_sd, scenes=scenes * factor)

    need = decide(grow(1.0), TERMS, 1.0, SCENES).need
    assume(need is not None)
    assert need is not None
    if need.scene_factor is None:
        assert decide(grow(100.0), TERMS, 1.0, SCENES).need is not None
        return
    assert need.scene_factor > 1
    assert need.scene_factor == round(need.scene_factor, 1)
    assert decide(grow(need.scene_factor), TERMS, 1.0, SCENES).need is None
    assert decide(grow(need.scene_factor - 0.1), TERMS, 1.0, SCENES).need is not None


@given(_ESTIMATES, _SDS, _SDS, st.integers(2, 12), st.integers(4, 60))
def test_the_seeds_and_scenes_that_are_named_together_decide_and_a_tenth_fewer_do_not(
    estimate: float, scene_sd: float, seed_sd: float, seeds: int, scenes: int
) -> None:
    def grow(factor: float, count: int) -> Difference:
        return make_difference(estimate, scene_sd / math.sqrt(factor), seed_sd, count, scenes * factor)

    def count(factor: float) -> int:
        return math.ceil(round(factor * seeds, 6))

    need = decide(grow(1.0, seeds), TERMS, 1.0, SCENES).need
    assume(need is not None)
    assert need is not None
    if need.together is None:
        most = min(float(MOST_SCENES), MOST_SEEDS / seeds)
        assert decide(grow(most, count(most)), TERMS, 1.0, SCENES).need is not None
        return
    factor = need.together.scene_factor
    assert need.together.seeds == count(factor)
    assert decide(grow(factor, count(factor)), TERMS, 1.0, SCENES).need is None
    if factor > 1.1:
        assert decide(grow(factor - 0.1, count(factor - 0.1)), TERMS, 1.0, SCENES).need is not None
    if need.scene_factor is not None:
        assert factor <= need.scene_factor  # more seeds never ask for more scenes


def test_an_estimate_at_the_very_threshold_is_never_decided() -> None:
    difference = make_difference(0.01)
    ruling = decide(difference, TERMS, 1.0, SCENES)
    assert ruling.need == Need(None, None, None)
    assert ruling.reason == "too_few_scenes"
    assert ruling.action == (
        "keep the baseline; the gain lies too near the 0.01 asked for to be told from it by more seeds and scenes;"
        f" those there are show a gain of about {smallest_gain(difference, TERMS):.3f} or more"
    )


def test_sentences_name_what_is_missing() -> None:
    seeds = decide(make_difference(0.045, 0.005, 0.05), TERMS, 1.0, SCENES)
    assert seeds.need is not None
    assert seeds.action == f"keep the baseline; {seeds.need.seeds} seeds an arm could decide it"
    difference = make_difference(0.045, 0.03, 0.005)
    scenes = decide(difference, TERMS, 1.0, SCENES)
    assert scenes.need is not None
    assert scenes.need.seeds is None
    factor = scenes.need.scene_factor
    assert factor is not None
    assert 2 < factor < 4
    assert f"; more seeds cannot decide it, about {factor:.1f} times as many scenes could" in scenes.action
    assert scenes.action.endswith(f"a gain of about {smallest_gain(difference, TERMS):.3f} or more")


def test_where_neither_alone_decides_both_together_are_named() -> None:
    """A gain of a third of a percent, as in the README's example, with as much doubt from seeds as from scenes."""
    ruling = decide(make_difference(0.0037, 0.008, 0.014), TERMS, 1.0, SCENES)
    need = ruling.need
    assert need is not None
    assert (need.seeds, need.scene_factor) == (None, None)
    assert need.together is not None
    assert 10 < need.together.scene_factor < 30
    assert need.together.seeds == pytest.approx(5 * need.together.scene_factor, abs=1)
    assert ruling.action.startswith(
        f"keep the baseline; about {need.together.seeds} seeds an arm and {need.together.scene_factor:.1f} times"
        " as many scenes, both together, could decide it; those there are show a gain of about 0.0"
    )


def test_fewer_scenes_are_asked_for_where_seeds_help() -> None:
    ruling = decide(make_difference(0.045, 0.03, 0.015), TERMS, 1.0, SCENES)
    assert ruling.need is not None
    both = ruling.need.together
    assert both is not None
    assert ruling.need.scene_factor is not None
    assert both.scene_factor < ruling.need.scene_factor
    assert f", or {both.scene_factor:.1f} times as many with {both.seeds} seeds an arm;" in ruling.action


def test_a_mean_is_projected_by_the_parts_of_all_its_categories() -> None:
    mean = average([make_difference(0.025, 0.002, 0.05, seeds=3), make_difference(0.035, 0.002, 0.05, seeds=3)])
    need = decide(mean, TERMS, 1.0, None).need
    assert need is not None
    assert need.seeds is not None
    later = average(
        [make_difference(0.025, 0.002, 0.05, need.seeds), make_difference(0.035, 0.002, 0.05, need.seeds)]
    )
    assert decide(later, TERMS, 1.0, None).verdict == "ADOPT"


def test_a_known_sd_needs_the_number_of_seeds() -> None:
    difference = assume_difference(12, 15, estimate=0.02, seed_sd=0.02, seeds=1)
    with pytest.raises(ValueError, match="how many seeds"):
        decide(difference, TERMS, 1.0, SCENES)
    assert decide(difference, TERMS, 1.0, SCENES, seeds=1).reason == "too_few_scenes"


def test_no_doubt_at_all_decides() -> None:
    certain = Difference(0.02, (Part(0.0, 5, "scenes"), Part(0.0, 4, "seeds")))
    assert decide(certain, TERMS, 1.0, SCENES).verdict == "ADOPT"
    assert project(dataclasses.replace(certain, estimate=0.01), TERMS, 5) == Need(None, None, None)


@given(_ESTIMATES, st.integers(1, 8), st.floats(0, 0.1))
def test_the_smallest_gain_is_that_of_the_resolution(estimate: float, judged: int, min_gain: float) -> None:
    terms = Terms(min_gain, 0.95, None, judged)
    planned = resolve(8, 15, judged, min_gain=min_gain)
    assert planned is not None
    assert smallest_gain(assume_difference(8, 15, estimate=estimate), terms) == pytest.approx(
        planned.smallest_gain
    )
