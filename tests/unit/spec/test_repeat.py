"""A spec that repeats a trial: its only point is that trial's, it is sound, and its YAML reads the same."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyvfm_opt.spec.load import load_spec
from anomalyvfm_opt.spec.mix import break_stick
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.repeat import render_spec, repeat_parameters
from anomalyvfm_opt.trial.space import list_distributions
from tests.unit.verdict.cases import BETTER, V1_1, make_study

SPEC = make_study().spec
_SHARE = st.floats(0, 1)


def list_points(spec: Spec) -> list[Parameters]:
    """The parameters that the sampler may suggest, each of whose distributions must hold one value."""
    distributions = list_distributions(spec.search.space)
    assert all(distribution.single() for distribution in distributions.values())
    values = {name: getattr(one, "low", None) for name, one in distributions.items()}
    chosen = {name: one.choices[0] for name, one in distributions.items() if hasattr(one, "choices")}
    return [Parameters.from_suggested({**values, **chosen}, spec.data.image_size_px)]


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["lora", "rslora", "dora", "adalora"]),
    st.integers(1, 64),
    st.floats(0.25, 4.0),
    st.sampled_from([1, 4, "all"]),
    st.floats(3e-5, 2e-3),
    st.integers(1, 50),
    _SHARE,
    _SHARE,
)
def test_the_only_point_of_the_spec_is_the_trial(
    adapter: str, rank: int, ratio: float, blocks: int, rate: float, epochs: int, u1: float, u2: float
) -> None:
    shares = dict(zip(("texture", "structural", "contextual"), break_stick(u1, u2), strict=True))
    p = replace(
        V1_1,
        adapter=adapter,
        rank=rank,
        alpha_ratio=ratio,
        adapted_blocks=blocks,
        learning_rate=rate,
        epochs=epochs,
        dropout=0.1,
        image_size_px=96,
        **shares,
    )
    (found,) = list_points(repeat_parameters(SPEC, "tile", p, 7))
    expected = asdict(p)
    for name, value in asdict(found).items():
        close = pytest.approx(expected[name], abs=1e-6) if name in shares else expected[name]
        assert value == close, name


def test_its_yaml_reads_as_the_same_spec(tmp_path: Path) -> None:
    p = replace(BETTER, learning_rate=3.0000000000000001e-05, texture=0.123456789, structural=1e-7)
    p = replace(p, contextual=1 - p.texture - p.structural)
    spec = repeat_parameters(SPEC, "tile", p, 7)
    file = tmp_path / f"{spec.name}.yaml"
    file.write_text(render_spec(spec), encoding="utf-8")
    assert load_spec(file) == spec
    assert spec.name == "x-tile-trial7"
    assert spec.data.categories == ("tile",)
    assert spec.training == SPEC.training


def test_a_category_that_is_no_part_of_a_name_still_gives_one() -> None:
    spec = repeat_parameters(SPEC, "part (2) é", BETTER, 3)
    assert spec.name == "x-part__2___-trial3"
    assert spec.data.categories == ("part (2) é",)
    long = repeat_parameters(SPEC.model_copy(update={"name": "n" * 100}), "c" * 100, BETTER, 99_999)
    assert len(long.name) <= 100


def test_there_is_room_for_the_references_and_one_trial() -> None:
    assert repeat_parameters(SPEC, "tile", BETTER, 3).search.trials == 3  # frozen, v1.1 and the trial
