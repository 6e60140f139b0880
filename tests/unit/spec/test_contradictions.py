"""Contradictions, found by the fields that they need."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.spec.contradictions import LARGEST_IMAGE_PX, find_contradictions
from anomalyvfm_opt.spec.model import Tiles
from anomalyvfm_opt.spec.space import IntRange, Shares

SIDES = st.integers(32, LARGEST_IMAGE_PX)
TILES = st.builds(Tiles, size_px=st.integers(32, 2048), overlap_px=st.integers(0, 2048))


def find(**fields: Any) -> list[str]:
    """Contradictions of the given fields alone; `__` stands for a dot."""
    given_fields = {name.replace("__", "."): value for name, value in fields.items()}
    return [str(problem) for problem in find_contradictions(given_fields.__getitem__)]


def ends_at_the_edge(side: int, tiles: Tiles) -> bool:
    """Whether a tile ends where the image does, by laying them one after another."""
    end = tiles.size_px
    while end < side:
        end += tiles.size_px - tiles.overlap_px
    return end == side


@given(side=SIDES, tiles=TILES)
def test_tiles_are_accepted_if_and_only_if_they_cover_the_image(side: int, tiles: Tiles) -> None:
    is_fine = 2 * tiles.overlap_px <= tiles.size_px and ends_at_the_edge(side, tiles)
    assert (find(data__image_size_px=side, data__tiles=tiles) == []) == is_fine


@given(side=SIDES, tiles=TILES)
def test_the_sizes_that_are_proposed_are_accepted_and_the_nearest(side: int, tiles: Tiles) -> None:
    said = find(data__image_size_px=side, data__tiles=tiles)
    if len(said) == 1 and "not covered" in said[0]:
        proposed = [int(word) for word in said[0].rpartition("; use ")[2].split(" or ")]
        assert proposed
        for other in proposed:
            assert find(data__image_size_px=other, data__tiles=tiles) == []
            between = range(min(side, other) + 1, max(side, other))
            assert not any(ends_at_the_edge(nearer, tiles) for nearer in between)


@given(own=SIDES, other=SIDES, tiles=TILES)
def test_a_searched_size_is_accepted_if_and_only_if_it_would_be_by_itself(
    own: int, other: int, tiles: Tiles
) -> None:
    sizes = tuple(dict.fromkeys((own, other)))
    said = find(data__image_size_px=own, data__tiles=tiles, search__space__image_size_px=sizes)
    alone = [find(data__image_size_px=size, data__tiles=tiles) for size in sizes]
    assert (said == []) == all(problems == [] for problems in alone)
    assert all("search.space.image_size_px.1: " in line for line in said if line not in alone[0])


def test_a_size_is_searched_on_labelled_images_only() -> None:
    sizes = (64, 96)
    assert find(search__space__image_size_px=sizes, data__lock="half") == []
    assert find(search__space__image_size_px=(), data__lock="all") == []
    (said,) = find(search__space__image_size_px=sizes, data__lock="all")
    assert said.startswith("search.space.image_size_px: cannot be searched with lock: all: the synthetic exam")
    assert said.endswith("leave it out, or use lock: half")


@given(low=st.integers(1, 50), high=st.integers(1, 50))
def test_a_range_may_be_a_point_and_not_reversed(low: int, high: int) -> None:
    said = find(search__space__epochs=IntRange(low=low, high=high))
    assert (said == []) == (low <= high)


@given(parts=st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_shares_sum_to_one(parts: list[float]) -> None:
    texture, structural, contextual = parts
    said = find(search__space__synthesis_mix=Shares(texture=texture, structural=structural, contextual=contextual))
    if abs(sum(parts) - 1) > 1.01e-6:
        assert len(said) == 1
        assert "shares should sum to 1" in said[0]
    if abs(sum(parts) - 1) < 0.99e-6:
        assert said == []


def test_shares_in_six_decimals_are_near_enough() -> None:
    third = 0.333333
    assert find(search__space__synthesis_mix=Shares(texture=third, structural=third, contextual=third)) == []


@given(choices=st.lists(st.sampled_from([2, 4, 6, "all"]), max_size=6))
def test_each_repeated_choice_is_named_once(choices: list[Any]) -> None:
    said = find(search__space__adapted_blocks=tuple(choices))
    assert len(said) == len(choices) - len(set(choices))


def test_a_check_waits_for_all_of_its_fields() -> None:
    assert find(search__trials=1) == []
    assert find(references=("frozen", "v1.1")) == []
    assert len(find(references=("frozen", "v1.1"), search__trials=1)) == 1
