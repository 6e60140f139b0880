import numpy as np
import pytest

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.evaluation.stitching import (
    check_grid,
    mark_content,
    mark_tile_content,
    mean_of_top,
    stitch_maps,
    take_highest,
)


def make_frames(geometry: Geometry, *content_px: tuple[int, int]) -> Frames:
    return Frames(np.zeros((len(content_px), *geometry.frame_px, 3), np.uint8), np.array(content_px), geometry)


@pytest.mark.parametrize("overlap_px", [0, 16])
def test_the_tiles_of_a_map_give_the_map_back(overlap_px: int) -> None:
    geometry = Geometry((64, 96), 32, 32 - overlap_px)
    whole = np.random.default_rng(0).random((2, 8, 12), dtype=np.float32)  # cells of 8 px
    frames = make_frames(geometry, (64, 96), (64, 96))
    tiles = np.stack([whole[i, y // 8 : y // 8 + 4, x // 8 : x // 8 + 4] for i, y, x in frames.tiles])
    np.testing.assert_allclose(stitch_maps(frames, tiles), whole, rtol=1e-6)


def test_maps_of_one_tile_are_as_they_were() -> None:
    maps = np.random.default_rng(0).random((3, 5, 5), dtype=np.float32)
    assert stitch_maps(make_frames(Geometry.square(37), *[(37, 37)] * 3), maps) is maps


def test_the_highest_tile_counts() -> None:
    frames = make_frames(Geometry((32, 64), 32, 32), (32, 64), (32, 20), (32, 64))
    assert take_highest(frames, np.array([1.0, 5.0, -3.0, 2.0, -1.0])).tolist() == [5.0, -3.0, 2.0]


def test_padding_does_not_count_among_the_highest() -> None:
    frames = make_frames(Geometry.square(40, keeps_aspect=True), (40, 40), (17, 40))
    maps = np.zeros((2, 4, 4), np.float32)
    maps[:, 1, 1], maps[:, 3, 3] = 2.0, 9.0
    assert mean_of_top(frames, maps, 0.01).tolist() == [9.0, 2.0]
    assert mean_of_top(frames, maps, 0.25).tolist() == [11 / 4, 1.0]
    assert mark_content(frames, (4, 4)).sum(axis=(1, 2)).tolist() == [16, 8]


def test_cells_of_tiles_that_begin_in_padding_are_marked() -> None:
    frames = make_frames(Geometry((32, 64), 32, 32, keeps_aspect=True), (20, 40))
    marked = mark_tile_content(frames, 4)  # cells of 8 px
    assert marked[0].all(axis=1).tolist() == [True, True, True, False]
    assert marked[1].any(axis=0).tolist() == [True, False, False, False]


@pytest.mark.parametrize(("tile_px", "stride_px", "grid"), [(32, 24, 2), (48, 48, 5), (32, 20, 4)])
def test_tiles_whose_cells_do_not_meet_are_refused(tile_px: int, stride_px: int, grid: int) -> None:
    geometry = Geometry((tile_px + stride_px, tile_px), tile_px, stride_px)
    with pytest.raises(UsageError, match="multiples of"):
        check_grid(geometry, grid)
    check_grid(Geometry.square(tile_px), grid)  # one tile meets nothing
    check_grid(Geometry((64, 64), 32, 16), 4)
