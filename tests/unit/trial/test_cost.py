from dataclasses import replace

import pytest

from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.spec.space import Space
from anomalyvfm_opt.trial.cost import PartCosts, Range, SizeFactors, draw_parameters, expect_seconds

COSTS = PartCosts(
    step=0.1,
    adapters={"lora": 1.0, "rslora": 1.0, "dora": 2.0, "adalora": 1.5, "none": 0.2},
    targets={"attention": 1.0, "attention_mlp": 1.5},
    blocks={"all": 1.0, 2: 0.5, 4: 0.7, 6: 0.8},
    scored_blocks={"all": 1.0, 2: 1.0, 4: 1.0, 6: 1.0, "none": 0.5},
    scoring=3.0,
    frozen=4.0,
    fixed=1.0,
    sizes={64: SizeFactors()},
)
V1_1 = reference_parameters("v1.1", "any", 64)
assert V1_1 is not None


def test_a_trial_costs_the_sum_of_its_parts() -> None:
    assert COSTS.count_seconds(None, 8) == 4.0
    assert COSTS.count_seconds(V1_1, 8) == pytest.approx(1 + 10 * (8 * 0.1 + 3))
    dear = replace(V1_1, adapter="dora", targets="attention_mlp", adapted_blocks=2, epochs=4)
    assert COSTS.count_seconds(dear, 8) == pytest.approx(1 + 4 * (8 * 0.1 * 2 * 1.5 * 0.5 + 3))


def test_only_some_epochs_are_scored_but_always_the_last() -> None:
    scorings = {1: 10, 3: 4, 5: 2, 20: 1}
    for every, count in scorings.items():
        assert COSTS.count_seconds(V1_1, 8, every) == pytest.approx(1 + 10 * 8 * 0.1 + count * 3)


def test_another_image_size_changes_steps_and_scoring() -> None:
    costs = replace(COSTS, sizes={64: SizeFactors(), 128: SizeFactors(step=4.0, scoring=3.0)})
    own, large = (replace(V1_1, image_size_px=size) for size in (64, 128))
    assert costs.count_seconds(own, 8) == COSTS.count_seconds(V1_1, 8)
    assert costs.count_seconds(large, 8) == pytest.approx(3 * (1 + 10 * 3) + 10 * 8 * 0.4)
    assert costs.scale(2).count_seconds(large, 8) == pytest.approx(3 * (2 + 10 * 6) + 10 * 8 * 0.4)


def test_a_category_with_more_images_takes_longer_to_score_but_not_to_step() -> None:
    twice = COSTS.scale(2)
    assert (twice.step, twice.scoring, twice.frozen, twice.fixed) == (0.1, 6.0, 8.0, 2.0)


def test_random_trials_cost_what_the_space_costs_on_average() -> None:
    """With nothing but random trials there is nothing to guess: only the measurement's tenth is left."""
    draws = draw_parameters(Space(), 64, 200)
    mean = sum(COSTS.count_seconds(p, 8) for p in draws) / 200
    found = expect_seconds(COSTS, [], draws, 50, 50, 8)
    assert found.expected == pytest.approx(50 * mean)
    assert (found.low, found.high) == pytest.approx((45 * mean, 55 * mean))


def test_where_the_sampler_goes_widens_the_range() -> None:
    draws = draw_parameters(Space(), 64, 200)
    random_ones, searched = (expect_seconds(COSTS, [None, V1_1], draws, 40, n, 8) for n in (40, 5))
    assert searched.low < random_ones.low < searched.expected < random_ones.high < searched.high
    assert searched.expected == pytest.approx(random_ones.expected)


def test_references_alone_are_certain() -> None:
    found = expect_seconds(COSTS, [None, V1_1], draw_parameters(Space(), 64, 10), 2, 10, 8)
    assert found.expected == pytest.approx(4 + 1 + 10 * 3.8)


def test_draws_are_the_same_each_time_and_inside_the_space() -> None:
    space = Space.model_validate({"rank": [4], "epochs": {"low": 3, "high": 5}})
    draws = draw_parameters(space, 64, 50)
    assert draws == draw_parameters(space, 64, 50)
    assert {p.rank for p in draws} == {4}
    assert {p.epochs for p in draws} == {3, 4, 5}


def test_ranges_add_up() -> None:
    assert Range(1, 2, 3) + Range(4, 5, 6) == Range(5, 7, 9)


def test_heads_alone_cost_what_was_measured_of_them_whatever_blocks_were_drawn() -> None:
    heads = replace(V1_1, adapter="none", targets="attention_mlp", adapted_blocks=2)
    assert COSTS.count_seconds(heads, 8) == pytest.approx(0.5 * (1 + 10 * 3) + 10 * 8 * 0.1 * 0.2)
