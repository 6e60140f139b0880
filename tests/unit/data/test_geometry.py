from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.data.frames import Frames, draw_corner
from anomalyvfm_opt.data.geometry import Geometry, choose_geometry
from anomalyvfm_opt.data.layout import ImageRecord
from anomalyvfm_opt.spec.model import DataSection
from tests.unit.data.conftest import make_pixels, save_image


def section(image_size_px: int, aspect: str = "stretch", tiles: tuple[int, int] | None = None) -> DataSection:
    cut = None if tiles is None else {"size_px": tiles[0], "overlap_px": tiles[1]}
    return DataSection.model_validate(
        {"image_size_px": image_size_px, "aspect": aspect, "tiles": cut, "lock": "all"}
    )


def write(folder: Path, *sizes: tuple[int, int]) -> list[ImageRecord]:
    paths = [save_image(folder / f"{h}x{w}.png", make_pixels(0, h, w)) for h, w in sizes]
    return [ImageRecord(path, path.name, "good", None, None, None) for path in paths]


@pytest.mark.parametrize(
    ("wanted", "sizes", "frame_px", "corners"),
    [
        (section(64), [(10, 40)], (64, 64), [(0, 0)]),
        (section(64, "keep"), [(10, 40)], (64, 64), [(0, 0)]),
        (section(64, "stretch", (32, 0)), [(10, 40)], (64, 64), [(0, 0), (0, 32), (32, 0), (32, 32)]),
        (section(64, "keep", (32, 0)), [(10, 40)], (32, 64), [(0, 0), (0, 32)]),
        (section(64, "keep", (32, 0)), [(40, 10), (30, 10)], (64, 32), [(0, 0), (32, 0)]),
        (section(64, "keep", (32, 16)), [(30, 40)], (48, 64), [(y, x) for y in (0, 16) for x in (0, 16, 32)]),
        (section(64, "keep", (32, 0)), [(10, 40), (40, 10)], (64, 64), [(0, 0), (0, 32), (32, 0), (32, 32)]),
        (section(64, "keep", (64, 0)), [(20, 40)], (64, 64), [(0, 0)]),
        (section(128, "keep", (64, 0)), [(33, 64), (32, 64)], (64, 128), [(0, 0), (0, 64)]),
    ],
)
def test_frames_are_as_large_as_their_images_need(
    tmp_path: Path,
    wanted: DataSection,
    sizes: list[tuple[int, int]],
    frame_px: tuple[int, int],
    corners: list[tuple[int, int]],
) -> None:
    geometry = choose_geometry(wanted, write(tmp_path, *sizes))
    assert geometry.frame_px == frame_px
    assert geometry.corners == corners
    assert geometry.tile_px == wanted.input_size_px


@given(
    st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    st.sampled_from([(32, 0), (64, 32), (96, 0)]),
    st.integers(0, 4),
    st.booleans(),
)
def test_an_image_fills_its_frame_along_one_side_and_stays_inside(
    image_px: tuple[int, int], tile: tuple[int, int], steps: int, keeps_aspect: bool
) -> None:
    side = tile[0] + steps * (tile[0] - tile[1])
    geometry = Geometry((side, side), tile[0], tile[0] - tile[1], keeps_aspect)
    height, width = geometry.fit(image_px)
    assert max(height, width) == side
    assert min(height, width) >= 1
    if keeps_aspect:
        shorter = min(image_px) / max(image_px) * side
        assert abs(min(height, width) - max(1, shorter)) <= 0.5
    covered = np.zeros((side, side), bool)
    for top, left in geometry.corners:
        covered[top : top + tile[0], left : left + tile[0]] = True
    assert covered.all()


def test_tiles_of_mere_padding_are_left_out() -> None:
    geometry = Geometry((64, 64), 32, 32, keeps_aspect=True)
    pixels = np.arange(2 * 64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(2, 64, 64, 3)
    frames = Frames(pixels, np.array([[20, 64], [64, 33]]), geometry)
    assert frames.tiles.tolist() == [[0, 0, 0], [0, 0, 32], [1, 0, 0], [1, 0, 32], [1, 32, 0], [1, 32, 32]]
    assert (frames.read_tiles(1, 3) == np.stack([pixels[0, :32, 32:], pixels[1, :32, :32]])).all()
    assert frames.read_tiles(4, 99).shape == (2, 32, 32, 3)
    assert frames.has_padding


def test_random_squares_lie_inside_the_image_where_it_is_large_enough() -> None:
    rng = np.random.default_rng(0)
    corners = np.array([draw_corner(np.array([50, 20]), 32, rng) for _ in range(300)])
    assert (corners[:, 1] == 0).all()
    assert (corners[:, 0].min(), corners[:, 0].max()) == (0, 18)


def test_geometry_is_described_for_people() -> None:
    assert Geometry.square(518).describe() == "518x518 px"
    wide = Geometry((518, 2072), 518, 518, keeps_aspect=True)
    assert wide.describe() == "2072x518 px, aspect kept, 4 tiles of 518 px"
