"""The names, the order and the bounds of distributions decide what a study that is stored will sample next."""

from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from anomalyvfm_opt.spec.load import load_spec
from anomalyvfm_opt.spec.space import Space
from anomalyvfm_opt.trial.space import list_distributions

STUDIES = Path(__file__).parents[3] / "studies"
THIRDS = {
    "mix_u1": FloatDistribution(0.5555555555555555, 0.5555555555555555),
    "mix_u2": FloatDistribution(0.49999999999999994, 0.49999999999999994),
}
DEFAULT: dict[str, BaseDistribution] = {
    "adapter": CategoricalDistribution(("lora", "rslora", "dora", "adalora")),
    "rank": CategoricalDistribution((2, 4, 8, 16, 32, 64)),
    "alpha_ratio": FloatDistribution(0.25, 4.0, log=True),
    "targets": CategoricalDistribution(("attention", "attention_mlp")),
    "adapted_blocks": CategoricalDistribution((2, 4, 6, "all")),
    "dropout": CategoricalDistribution((0.0,)),
    "epochs": IntDistribution(2, 20, log=True),
    "learning_rate": FloatDistribution(3e-5, 2e-3, log=True),
    "mix_u1": FloatDistribution(0.0, 1.0),
    "mix_u2": FloatDistribution(0.0, 1.0),
    "synthesis_count": IntDistribution(30, 300, log=True),
    "synthesis_intensity": CategoricalDistribution((0.33, 0.67, 1.0, 1.17, 1.5)),
}
OTHERS: dict[str, dict[str, BaseDistribution]] = {
    "demo": {
        "adapter": CategoricalDistribution(("lora",)),
        "rank": CategoricalDistribution((4, 8, 16)),
        "epochs": IntDistribution(2, 10, log=True),
        "learning_rate": FloatDistribution(1e-4, 3e-3, log=True),
        "synthesis_count": IntDistribution(30, 120, log=True),
    },
    "dinov2_offline": {
        "adapter": CategoricalDistribution(("lora",)),
        "rank": CategoricalDistribution((4, 8, 16, 32)),
        "adapted_blocks": CategoricalDistribution((2, 4)),
        "epochs": IntDistribution(2, 8, log=True),
        "learning_rate": FloatDistribution(2e-4, 2e-3, log=True),
        "image_size_px": CategoricalDistribution((112, 168, 224)),
    },
    "mvtec_ad": {"adapter": CategoricalDistribution(("lora", "dora"))},
    "mvtec_ad2": {},
    "mvtec_ad2_quick": {
        "adapter": CategoricalDistribution(("lora",)),
        "rank": CategoricalDistribution((4, 8, 16, 32)),
        "epochs": IntDistribution(2, 12, log=True),
    },
    "offline_quick": {
        "adapter": CategoricalDistribution(("lora",)),
        "rank": CategoricalDistribution((2, 4, 8, 16)),
        "epochs": IntDistribution(2, 10, log=True),
        "learning_rate": FloatDistribution(1e-4, 3e-3, log=True),
        "image_size_px": CategoricalDistribution((128, 192)),
    },
}


def test_every_shipped_spec_is_looked_at() -> None:
    assert {path.stem for path in STUDIES.glob("*.yaml")} == set(OTHERS)


@pytest.mark.parametrize("name", OTHERS)
def test_distributions_are_in_the_order_that_stored_studies_were_sampled_in(name: str) -> None:
    found = list_distributions(load_spec(STUDIES / f"{name}.yaml").search.space)
    assert list(found.items()) == list({**DEFAULT, **OTHERS[name]}.items())


@pytest.mark.parametrize("mix", ["thirds", {"texture": 0.333333, "structural": 0.333333, "contextual": 0.333333}])
def test_a_fixed_mix_is_two_fixed_numbers(mix: Any) -> None:
    found = list_distributions(Space.model_validate({"synthesis_mix": mix}))
    assert list(found.items()) == list({**DEFAULT, **THIRDS}.items())
