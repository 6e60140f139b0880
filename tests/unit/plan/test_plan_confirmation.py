"""What a confirmation costs before any of its trainings has run."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.plan.confirmation import reckon_confirmation
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.trial.cost import PartCosts, SizeFactors, draw_parameters

COSTS = PartCosts(
    step=0.1,
    adapters={"lora": 1.0, "rslora": 1.0, "dora": 2.0, "adalora": 1.5},
    targets={"attention": 1.0, "attention_mlp": 1.5},
    blocks={"all": 1.0, 2: 0.5, 4: 0.7, 6: 0.8},
    scored_blocks={"all": 1.0, 2: 1.0, 4: 1.0, 6: 1.0},
    scoring=3.0,
    frozen=4.0,
    fixed=1.0,
    sizes={64: SizeFactors()},
)


def make_spec(**verdict: Any) -> Spec:
    data = {"image_size_px": 64, "lock": "half"}
    return Spec.model_validate({"name": "x", "data": data, "search": {"trials": 5}, "verdict": verdict})


DRAWS = draw_parameters(make_spec().search.space, 64, 40)


@given(seeds=st.integers(3, 9), race_seeds=st.integers(2, 5), finalists=st.integers(1, 4))
def test_every_training_more_costs_more(seeds: int, race_seeds: int, finalists: int) -> None:
    terms = {"seeds": seeds, "race_seeds": race_seeds, "finalists": finalists}
    found = reckon_confirmation(make_spec(**terms), "can", COSTS, DRAWS)
    assert 0 < found.low < found.expected < found.high
    for name in terms:
        more = reckon_confirmation(make_spec(**{**terms, name: terms[name] + 1}), "can", COSTS, DRAWS)
        assert more.expected > found.expected


def test_the_expected_cost_is_the_sum_of_all_trainings() -> None:
    """Two frozen models, the baseline's seeds and noise floor, and as many trainings of a draw's mean cost."""
    spec = make_spec(seeds=3, race_seeds=2, noise_seeds=4, finalists=2)
    steps = spec.training.steps_per_epoch
    seconds = [COSTS.count_seconds(draw, steps, draw.epochs) for draw in DRAWS]
    baseline = spec.reference(spec.baseline, "can")
    assert baseline is not None
    known = 2 * 4.0 + (4 + 3) * COSTS.count_seconds(baseline, steps, baseline.epochs)
    expected = known + (2 * 2 + 3) * sum(seconds) / len(seconds)
    assert reckon_confirmation(spec, "can", COSTS, DRAWS).expected == pytest.approx(expected)
