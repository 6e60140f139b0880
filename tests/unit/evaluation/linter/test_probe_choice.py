"""Which images the linter's probe looks at: few, from all over a series, the same for every trial."""

import numpy as np
import pytest

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.evaluation.linter.lint import _choose


def make_frames(count: int, tiles: int = 1) -> Frames:
    """Frames in a row of tiles each, whose pixels nobody reads."""
    geometry = Geometry((64, 64 * tiles), 64, 64)
    return Frames(np.empty((count, 0)), np.tile(np.array(geometry.frame_px), (count, 1)), geometry)


@pytest.mark.parametrize(
    ("images", "tiles", "most", "chosen"),
    [
        (100, 1, 32, 32),
        (20, 1, 32, 20),
        (5, 1, 32, 5),
        (100, 10, 32, 12),  # 128 tiles in all
        (100, 100, 32, 8),  # large images are few, but enough to be scored again
        (5, 100, 32, 5),
        (100, 1, 4, 8),
    ],
)
def test_it_is_as_many_as_are_affordable_and_no_image_twice(
    images: int, tiles: int, most: int, chosen: int
) -> None:
    indices = _choose(make_frames(images, tiles), most)
    assert len(indices) == len(set(indices.tolist())) == chosen
    assert indices.min() == 0
    assert indices.max() == images - 1


def test_they_are_spread_evenly_in_mixed_order_and_the_same_each_time() -> None:
    indices = _choose(make_frames(1000), 32)
    gaps = np.diff(np.sort(indices))
    assert (gaps.min(), gaps.max()) == (32, 33)  # 999 / 31 is 32.2
    assert indices.tolist() != sorted(indices.tolist())
    assert indices.tolist() == _choose(make_frames(1000), 32).tolist()
    assert len({bool(index < 500) for index in indices[:8]}) == 2  # those that are scored again are of both ends
