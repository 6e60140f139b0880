"""What a plan is added up from: trials that are left, anomalies in pools, tiles and bytes, counted by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.data.records import ImageRecord
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.plan.amounts import count_anomalies, count_bytes
from anomalyvfm_opt.plan.probe import Making
from anomalyvfm_opt.plan.reckoning import (
    _count_done,
    _count_scored,
    _count_start,
    _reckon,
    _Subject,
)
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.trial.cost import PartCosts, Range, SizeFactors
from tests.unit.verdict.cases import BETTER, V1_1

COSTS = PartCosts(
    step=0.1,
    adapters={"lora": 1.0},
    targets={"attention": 1.0},
    blocks={"all": 1.0},
    scored_blocks={"all": 1.0},
    scoring=3.0,
    frozen=4.0,
    fixed=1.0,
    sizes={64: SizeFactors()},
)
WIDE = Geometry((64, 128), 64, 64)  # two tiles


def make_spec(lock: str = "half", **sections: dict[str, Any]) -> Spec:
    search = {"trials": 6, "sampler": "random", **sections.pop("search", {})}
    data = {"image_size_px": 64, "lock": lock}
    return Spec.model_validate(
        {"name": "x", "data": data, "references": ["frozen", "v1.1", "v1.2"], "search": search, **sections}
    )


def make_split(fit: int, held_out: int, search: int, locked: int) -> Split:
    """Images that nobody opens."""
    counts = {"fit": fit, "held_out": held_out, "search": search, "locked": locked}
    images = {
        role: tuple(
            ImageRecord(Path(f"{role}/{i}"), f"{role}/{i}", "good", None, None, None) for i in range(count)
        )
        for role, count in counts.items()
    }
    return Split("half", **images)


def count_seconds(epochs: float, spec: Spec) -> float:
    return 1.0 + epochs * (3.0 + spec.training.steps_per_epoch * 0.1)


def test_references_are_run_first_and_one_that_equals_another_is_run_once() -> None:
    """`tile` has no rule of its own: v1.2 is v1.1 there. A draw has 3 epochs, v1.1 has 10."""
    spec = make_spec()
    draw, v1_1 = count_seconds(3, spec), count_seconds(10, spec)
    draws = [replace(BETTER, epochs=3)] * 4
    expected = [4.0 + v1_1 + 4 * draw, v1_1 + 4 * draw, 4 * draw, 3 * draw, 2 * draw, draw]
    assert [_reckon(spec, "tile", COSTS, draws, done).expected for done in range(6)] == pytest.approx(expected)
    three = _reckon(spec, "walnuts", COSTS, draws, 0)
    assert three.expected == pytest.approx(4.0 + v1_1 + count_seconds(12, spec) + 3 * draw)


def test_random_trials_leave_only_the_measurement_in_doubt_and_the_sampler_where_it_goes() -> None:
    draws = [replace(V1_1, epochs=epochs) for epochs in (2, 5, 8, 11)]
    random = _reckon(make_spec(), "tile", COSTS, draws, 0)
    assert (random.low, random.high) == pytest.approx((0.9 * random.expected, 1.1 * random.expected))
    guided = _reckon(make_spec(search={"sampler": "tpe", "startup_trials": 3}), "tile", COSTS, draws, 0)
    assert guided.expected == pytest.approx(random.expected)
    assert guided.low < random.low
    assert guided.high > random.high


def test_random_trials_that_are_done_leave_fewer_random_ones() -> None:
    """Two trials are left, one of them random; quartiles of 2, 5, 8 and 11 epochs are 2.75 and 10.25."""
    draws = [replace(V1_1, epochs=epochs) for epochs in (2, 5, 8, 11)]
    spec = make_spec(search={"sampler": "tpe", "startup_trials": 5})
    cheap, mean, dear = (count_seconds(epochs, spec) for epochs in (2.75, 6.5, 10.25))
    found = _reckon(spec, "tile", COSTS, draws, 4)
    assert (found.low, found.expected, found.high) == pytest.approx(
        (0.9 * (mean + cheap), 2 * mean, 1.1 * (mean + dear))
    )


@pytest.mark.parametrize(
    ("high", "mix", "category", "count"),
    [
        (60, "simplex", "tile", 3 * 60 + 3 * 90),
        (60, {"texture": 0.5, "structural": 0.5, "contextual": 0.0}, "tile", 2 * 60 + 3 * 90),
        (120, "simplex", "tile", 3 * 120),  # the references draw from the space's own pools
        (120, {"texture": 1.0, "structural": 0.0, "contextual": 0.0}, "tile", 3 * 120),
        (60, "simplex", "walnuts", 3 * 60 + 3 * 90 + 3 * 90),  # v1.2 has an intensity of its own there
    ],
)
def test_anomalies_are_those_of_each_pool_that_somebody_may_draw_from(
    high: int, mix: Any, category: str, count: int
) -> None:
    space = {
        "synthesis_count": {"low": 30, "high": high},
        "synthesis_mix": mix,
        "synthesis_intensity": [1.0],
    }
    assert count_anomalies(make_spec(search={"space": space}), category) == count


def test_tiles_are_those_of_one_scoring() -> None:
    split = make_split(fit=10, held_out=3, search=5, locked=7)
    few = {"fit_images": 8, "exam_images": 9}
    subject = _Subject("tile", split, {64: WIDE})
    assert _count_scored(make_spec(scoring=few), subject) == 2 * (8 + 3 + 5)
    assert _count_scored(make_spec("all", scoring=few), subject) == 2 * (8 + 3 + 9)
    assert _count_scored(make_spec(), subject) == 2 * (10 + 3 + 5)


def test_bytes_are_those_of_images_masks_exam_and_anomalies() -> None:
    """14 images of 3 bytes a pixel, 6 masks, an exam of 5 // 2 + 7 and 10 anomalies of 4, each of 64 x 64."""
    split = make_split(fit=3, held_out=5, search=2, locked=4)
    pixels = 64 * 64
    frames = 3 * 14 + 6 + 4 * (2 + 7)
    assert count_bytes(Geometry.square(64), split, 10, 7) == pixels * (frames + 4 * 10)
    assert count_bytes(WIDE, split, 10, 7) == pixels * (2 * frames + 4 * 10)


def test_images_that_are_decoded_cost_nothing_to_start_with() -> None:
    making, split = Making(decode_s=0.5, anomaly_s=0.01), make_split(3, 5, 2, 4)
    assert _count_start(making, split, 100, is_decoded=False) == pytest.approx(14 * 0.5 + 1.0)
    assert _count_start(making, split, 100, is_decoded=True) == pytest.approx(1.0)


def test_tickets_of_a_study_count_if_it_is_of_this_spec_wherever_its_weights_lie() -> None:
    spec, said = make_spec(), list[str]()
    moved = make_spec(backbone={"weights": "random"})
    assert _count_done(spec, "x/tile", {}, said.append) == 0
    assert _count_done(spec, "x/tile", {"x/tile": (spec, 4), "x/can": (spec, 5)}, said.append) == 4
    assert _count_done(spec, "x/tile", {"x/tile": (moved, 3)}, said.append) == 3
    assert said == []
    other = make_spec(search={"trials": 9})
    assert _count_done(spec, "x/tile", {"x/tile": (other, 4)}, said.append) == 0
    (line,) = said
    assert line.startswith("note: x/tile exists with another spec (search.trials: ")


def test_amounts_are_added_bound_by_bound() -> None:
    assert sum([Range(1.0, 2.0, 4.0), Range(10.0, 20.0, 40.0)], Range(0.5, 0.5, 0.5)) == Range(11.5, 22.5, 44.5)
