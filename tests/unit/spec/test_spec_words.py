"""What pydantic finds wrong, in words: paths without the names of union members, and one line for a value."""

from typing import Any

import pytest
from pydantic import ValidationError

from anomalyvfm_opt.spec.contradictions import Problem
from anomalyvfm_opt.spec.mistakes import describe_mistakes
from anomalyvfm_opt.spec.model import Spec

SOUND: dict[str, Any] = {
    "name": "x",
    "data": {"image_size_px": 64, "lock": "half"},
    "search": {"trials": 5, "space": {}},
}


def describe(**changes: Any) -> list[Problem]:
    """What is said of a spec with other sections."""
    with pytest.raises(ValidationError) as caught:
        Spec.model_validate({**SOUND, **changes})
    return describe_mistakes(caught.value)


def describe_space(**changes: Any) -> list[Problem]:
    return describe(search={"trials": 5, "space": changes})


def test_what_is_required_and_not_there_is_said_at_the_place_where_it_should_be() -> None:
    assert describe(data={"lock": "half"}) == [Problem(("data", "image_size_px"), "is required, and not there")]


def test_an_unknown_key_is_held_against_its_neighbours_first_and_then_against_all_others() -> None:
    (near,) = describe_space(rnak=[4])
    assert near == Problem(("search", "space", "rnak"), "unknown key; did you mean 'rank'?")
    (elsewhere,) = describe_space(trials=5)
    assert elsewhere == Problem(("search", "space", "trials"), "unknown key; did you mean 'search.trials'?")
    (nowhere,) = describe(data={"image_size_px": 64, "lock": "half", "zzz": 1})
    assert nowhere.message.startswith("unknown key; known here: ")
    assert {"categories", "image_size_px", "lock"} <= set(nowhere.message.split(": ")[1].split(", "))


def test_members_of_a_union_speak_with_one_voice_at_the_fields_own_path() -> None:
    (found,) = describe_space(adapted_blocks=["al"])
    assert found.path == ("search", "space", "adapted_blocks", 0)
    assert found.message.startswith("should be ")
    assert " or " in found.message
    assert found.message.endswith("not 'al'; did you mean 'all'?")


def test_a_fault_inside_a_mapping_is_told_there_and_the_other_members_of_the_union_are_silent() -> None:
    found = describe_space(synthesis_mix={"texture": 2.0, "structural": 0.0, "contextual": 0.0})
    assert [one.path for one in found] == [("search", "space", "synthesis_mix", "texture")]


def test_limits_are_whole_where_they_are_and_a_long_value_is_cut_to_sixty_letters() -> None:
    (found,) = describe_space(dropout=[1.0])
    assert found == Problem(("search", "space", "dropout", 0), "should be below 1, not 1.0")
    (long,) = describe_space(rank="7" * 100)
    shown = long.message.split(", not ")[1]
    assert (len(shown), shown[-3:]) == (60, "...")


def test_a_section_that_is_no_mapping_is_told_the_keys_that_it_takes() -> None:
    (found,) = describe(data=7)
    assert found.path == ("data",)
    assert found.message.startswith("should be a mapping with ")
    assert "image_size_px" in found.message
    assert found.message.endswith(", not 7")


def test_contradictions_are_left_to_others() -> None:
    assert describe(search={"trials": 2, "space": {}}) == []
