"""The mix of synthetic anomalies: searched, thirds, or fixed shares."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from anomalyvfm_opt.spec.mix import join_stick
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.spec.space import Shares, Space
from anomalyvfm_opt.trial.space import is_inside, list_distributions


def make_space(mix: Any) -> Space:
    return Space.model_validate({"synthesis_mix": mix})


def share_out(texture: float, structural: float, contextual: float) -> dict[str, float]:
    return {"texture": texture, "structural": structural, "contextual": contextual}


EQUAL = [
    "thirds",
    share_out(1 / 3, 1 / 3, 1 / 3),
    share_out(0.333333, 0.333333, 0.333334),
    share_out(0.333333, 0.333333, 0.333333),
]


@pytest.mark.parametrize("mix", EQUAL, ids=str)
def test_a_reference_of_equal_shares_is_inside_equal_shares(mix: Any) -> None:
    parameters = reference_parameters("v1.1", "can", 64)
    assert parameters is not None
    distributions = list_distributions(make_space(mix))
    assert is_inside(parameters, distributions)
    for name in ("mix_u1", "mix_u2"):
        assert distributions[name].single()
        assert distributions[name]._contains(parameters.to_suggested()[name])  # as Optuna asks of what is enqueued


def test_a_reference_of_other_shares_is_inside_those_and_not_inside_thirds() -> None:
    parameters = reference_parameters("v1.2", "fruit_jelly", 64)  # 40, 25 and 25 of 90
    assert parameters is not None
    assert is_inside(parameters, list_distributions(make_space(share_out(0.444444, 0.277778, 0.277778))))
    assert not is_inside(parameters, list_distributions(make_space("thirds")))
    assert not is_inside(parameters, list_distributions(make_space(share_out(0.44, 0.28, 0.28))))
    assert is_inside(parameters, list_distributions(make_space("simplex")))


@given(cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_what_a_trial_gets_is_what_the_spec_fixes(cuts: tuple[float, float]) -> None:
    first, second = sorted(cuts)
    shares = share_out(first, second - first, 1 - second)
    assume(shares["texture"] < 0.999)  # where almost nothing is left to break
    distributions = list_distributions(make_space(shares))
    suggested = {
        name: distribution.to_external_repr(distribution.low)  # type: ignore[attr-defined]
        for name, distribution in distributions.items()
        if name.startswith("mix_")
    }
    rest = reference_parameters("v1.1", "can", 64)
    assert rest is not None
    parameters = Parameters.from_suggested({**rest.to_suggested(), **suggested}, 64)
    got = share_out(parameters.texture, parameters.structural, parameters.contextual)
    assert got == pytest.approx(shares, abs=2e-6)
    assert min(got.values()) >= 0


@given(texture=st.floats(0, 1), part=st.floats(0, 1))
def test_joined_shares_are_numbers_that_may_be_suggested(texture: float, part: float) -> None:
    assert all(0 <= number <= 1 for number in join_stick(texture, part * (1 - texture)))


@given(count=st.integers(1, 100), total=st.integers(1, 100))
def test_a_fraction_in_six_decimals_is_that_fraction(count: int, total: int) -> None:
    share = min(count, total) / total
    shares = Shares(texture=round(share, 6), structural=0, contextual=0)
    assert shares.exact() == (share, 0, 0)


def test_a_share_that_is_no_fraction_stays_as_it_is() -> None:
    assert Shares(texture=0.123456, structural=0.4, contextual=0.476544).exact() == (0.123456, 0.4, 0.476544)
