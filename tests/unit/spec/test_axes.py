"""The table of axes: what is declared once, and what derives from it."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, get_args

import pytest

from anomalyvfm_opt.spec.axes import IMPLIED, ONE_HOT, Axis, linear, log2_or_all, read_axes
from anomalyvfm_opt.spec.dimensions import Interval, list_axes, list_dimensions
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import AXES, Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.spec.space import Space
from anomalyvfm_opt.verdict.encoding import Encoding

ONE = reference_parameters("v1.1", "can", 64)
assert ONE is not None


def change(axis: Axis) -> Parameters:
    """Parameters that differ from v1.1 on one axis."""
    value: Any = getattr(ONE, axis.name)
    other = value + 1 if isinstance(value, int | float) else 2 if value == "all" else f"another {axis.name}"
    return replace(ONE, **{axis.name: other})


def test_every_parameter_has_an_axis_and_a_coordinate() -> None:
    assert [axis.name for axis in AXES] == [field.name for field in fields(Parameters)]
    assert all(callable(axis.coordinate) or axis.coordinate in (ONE_HOT, IMPLIED) for axis in AXES)
    assert [axis.name for axis in AXES if axis.coordinate == IMPLIED] == ["contextual"]  # 1 - the other shares


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_every_axis_is_measured_by_the_regression(axis: Axis) -> None:
    encoding = Encoding([ONE, change(axis)])
    assert set(encoding.columns) == ({axis.name} if axis.coordinate != IMPLIED else set())


def test_a_parameter_without_an_axis_is_refused() -> None:
    @dataclass
    class Forgotten:
        rank: Annotated[int, Axis(coordinate=linear)]
        patch_smoothing: float

    @dataclass
    class Repeated:
        rank: Annotated[int, Axis(coordinate=linear), Axis(coordinate=ONE_HOT)]

    with pytest.raises(TypeError, match="patch_smoothing should carry one Axis, not 0"):
        read_axes(Forgotten)
    with pytest.raises(TypeError, match="rank should carry one Axis, not 2"):
        read_axes(Repeated)


def test_every_field_of_the_space_is_that_of_an_axis() -> None:
    assert {axis.searched_in for axis in AXES} == set(Space.model_fields)


def test_what_is_drawn_is_what_parameters_are_read_from() -> None:
    searched = Space(image_size_px=(64, 96))
    assert set(list_dimensions(searched)) == set(ONE.to_suggested())
    assert set(list_dimensions(searched)) - set(list_dimensions(Space())) == {"image_size_px"}
    assert {axis.name for axis in AXES} - {axis.name for axis in list_axes(Space())} == {"image_size_px"}


def test_what_is_drawn_says_its_kind() -> None:
    dimensions = list_dimensions(Space())
    assert dimensions["adapted_blocks"] == (2, 4, 6, "all")
    assert dimensions["epochs"] == Interval(low=2, high=20, is_log=True, is_whole=True)
    assert dimensions["learning_rate"] == Interval(low=3e-5, high=2e-3, is_log=True)
    assert dimensions["mix_u2"] == Interval(low=0.0, high=1.0)


@pytest.mark.parametrize("name", Space.model_fields)
def test_every_list_is_checked_for_repeats_and_every_range_for_being_empty(name: str) -> None:
    default = getattr(Space(), name)
    document: dict[str, Any] = {"name": "x", "data": {"image_size_px": 64, "lock": "half"}}
    if isinstance(default, tuple):
        choice = default[0] if default else 64
        space, said = {name: [choice, choice]}, f"search.space.{name}.1: {choice!r} is listed twice"
    elif name == "synthesis_mix":
        assert get_args(Space.model_fields[name].annotation)
        return  # neither: its shares are checked by themselves
    else:
        low, high = default.high, default.low
        space, said = {name: {"low": low, "high": high}}, f"search.space.{name}: low {low} is above high {high}"
    with pytest.raises(ValueError, match="contradiction") as caught:
        Spec.model_validate({**document, "search": {"trials": 5, "space": space}})
    assert said in str(caught.value)


def test_all_blocks_are_twice_the_largest_number() -> None:
    assert log2_or_all([2, 8, "all"])("all") == 4
    assert log2_or_all(["all"])("all") == 1
    assert log2_or_all([2, 8, "all"])(4) == 2
