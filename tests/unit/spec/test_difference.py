"""The difference of two specs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.spec.difference import find_differences
from anomalyvfm_opt.spec.model import Spec

SOUND: dict[str, Any] = {"name": "x", "data": {"image_size_px": 518, "lock": "half"}, "search": {"trials": 5}}
LEAVES = st.none() | st.integers(0, 3) | st.sampled_from(["", "a"]) | st.lists(st.integers(0, 3), max_size=2)
SECTIONS = st.dictionaries(st.sampled_from("abc"), LEAVES, max_size=3)
CONTENTS = st.dictionaries(st.sampled_from("abc"), LEAVES | SECTIONS, max_size=3)


def change(section: str, **fields: Any) -> dict[str, Any]:
    return Spec.model_validate({**SOUND, section: {**SOUND.get(section, {}), **fields}}).content()


@pytest.mark.parametrize(
    ("section", "fields", "line"),
    [
        ("search", {"trials": 6}, "search.trials: 5 -> 6"),
        (
            "search",
            {"space": {"epochs": {"low": 2, "high": 10}}},
            "search.space.epochs: 2 - 20 (log) -> 2 - 10",
        ),
        (
            "search",
            {"space": {"adapted_blocks": [2, "all"]}},
            "search.space.adapted_blocks: [2, 4, 6, all] -> [2, all]",
        ),
        (
            "search",
            {"space": {"synthesis_mix": {"texture": 0.5, "structural": 0.5, "contextual": 0}}},
            "search.space.synthesis_mix: simplex -> texture 0.5, structural 0.5, contextual 0.0",
        ),
        ("data", {"tiles": {"size_px": 518}}, "data.tiles: none -> size_px 518, overlap_px 0"),
        ("backbone", {"patch_blocks": [3]}, "backbone.patch_blocks: none -> [3]"),
    ],
)
def test_a_difference_is_a_readable_line(section: str, fields: dict[str, Any], line: str) -> None:
    assert [
        found.line for found in find_differences(Spec.model_validate(SOUND).content(), change(section, **fields))
    ] == [line]


@given(content=CONTENTS)
def test_equal_contents_have_no_difference(content: dict[str, Any]) -> None:
    assert find_differences(content, content) == []


@given(old=CONTENTS, new=CONTENTS)
def test_contents_without_a_difference_are_equal_and_the_way_back_has_as_many(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    there, back = find_differences(old, new), find_differences(new, old)
    assert (there == []) == (old == new)
    assert {one.path for one in there} == {one.path for one in back}
    assert {(one.path, one.old_text) for one in there} == {(one.path, one.new_text) for one in back}
