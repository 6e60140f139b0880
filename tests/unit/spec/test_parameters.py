import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.spec.difference import find_differences
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters

OTHERS = {
    "adapter": "lora",
    "rank": 8,
    "alpha_ratio": 2.0,
    "targets": "attention",
    "adapted_blocks": "all",
    "epochs": 3,
    "learning_rate": 1e-4,
    "synthesis_count": 60,
    "synthesis_intensity": 1.0,
    "dropout": 0.1,
    "image_size_px": 96,
}
UNIT = st.floats(0, 1, allow_nan=False)


@given(u1=UNIT, u2=UNIT)
def test_shares_are_never_negative_and_sum_to_one(u1: float, u2: float) -> None:
    p = Parameters.from_suggested({**OTHERS, "mix_u1": u1, "mix_u2": u2}, 64)
    assert min(p.texture, p.structural, p.contextual) >= 0
    assert p.texture + p.structural + p.contextual == pytest.approx(1)


@given(u1=st.floats(0, 0.999), u2=UNIT)
def test_suggested_values_survive_the_way_there_and_back(u1: float, u2: float) -> None:
    suggested = {**OTHERS, "mix_u1": u1, "mix_u2": u2}
    back = Parameters.from_suggested(suggested, 64).to_suggested()
    assert back.keys() == suggested.keys()
    assert (back["mix_u1"], back["mix_u2"]) == pytest.approx((u1, u2), abs=1e-6)


def test_the_mix_is_uniform_on_the_simplex() -> None:
    rng = np.random.default_rng(0)
    shares = np.array(
        [
            (p.texture, p.structural, p.contextual)
            for u1, u2 in rng.random((4000, 2))
            for p in [Parameters.from_suggested({**OTHERS, "mix_u1": u1, "mix_u2": u2}, 64)]
        ]
    )
    assert shares.mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.02)
    assert shares.var(axis=0) == pytest.approx([1 / 18] * 3, abs=0.01)  # of Dirichlet(1, 1, 1)


def test_v1_1_is_rank_16_alpha_32_for_every_category() -> None:
    p = reference_parameters("v1.1", "anything", 64)
    assert p is not None
    assert (p.rank, p.alpha, p.epochs, p.learning_rate, p.synthesis_count) == (16, 32, 10, 1e-4, 90)
    assert p.texture == p.structural == p.contextual


@pytest.mark.parametrize(
    ("category", "rank", "alpha", "epochs", "lr", "texture", "intensity"),
    [
        ("walnuts", 32, 64, 12, 8e-5, 40 / 90, 1.17),
        ("vial", 8, 16, 6, 1.5e-4, 20 / 90, 0.67),
        ("can", 16, 32, 10, 1e-4, 1 / 3, 1.0),
    ],
)
def test_v1_2_follows_the_rule_table(
    category: str, rank: int, alpha: float, epochs: int, lr: float, texture: float, intensity: float
) -> None:
    p = reference_parameters("v1.2", category, 64)
    assert p is not None
    assert (p.rank, p.alpha, p.epochs, p.learning_rate) == (rank, alpha, epochs, lr)
    assert (p.texture, p.synthesis_intensity) == pytest.approx((texture, intensity))


def test_equal_references_are_run_once() -> None:
    data = {"image_size_px": 64, "lock": "half"}
    spec = Spec.model_validate({"name": "x", "data": data, "search": {"trials": 5}})
    assert spec.references == ("frozen", "v1.1", "v1.2")
    assert spec.references_run("can") == {"frozen": "frozen", "v1.1": "v1.1", "v1.2": "v1.1"}
    assert spec.references_run("walnuts")["v1.2"] == "v1.2"


def test_differences_are_field_by_field() -> None:
    old, new = {"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 1, "c": 3}, "e": 0}
    assert [found.line for found in find_differences(old, new)] == [
        "a.c: 2 -> 3",
        "d: [1] -> (absent)",
        "e: (absent) -> 0",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rank", "8"),
        ("rank", 0),
        ("rank", True),
        ("alpha_ratio", float("nan")),
        ("adapted_blocks", "some"),
        ("dropout", -0.5),
        ("learning_rate", float("inf")),
        ("texture", 2),
        ("adapter", None),
        ("image_size_px", 0),
    ],
)
def test_what_nothing_could_be_trained_with_is_refused_by_its_name(name: str, value: object) -> None:
    stored = {**Parameters.from_suggested({**OTHERS, "mix_u1": 0.5, "mix_u2": 0.5}, 64).to_json(), name: value}
    with pytest.raises(ValueError, match=f"and {name}.* is "):
        Parameters.from_json(stored, 64)


def test_parameters_without_names_are_refused() -> None:
    with pytest.raises(ValueError, match="parameters should have names, and not be"):
        Parameters.from_json([8], 64)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="adapter is missing"):
        Parameters.from_json({}, 64)
