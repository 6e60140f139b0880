"""From an image of any size to the frame that it is decoded into, and to the tiles that the network sees.

A frame is the decoded image: with `aspect: stretch` a square, with `aspect: keep` the image in its own
proportions, from the top left corner, and padding to the right of it or below. Without tiles the network sees a
frame as a whole; with tiles it sees squares of it, row by row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalyvfm_opt.data.images import read_size_px
from anomalyvfm_opt.data.records import ImageRecord
from anomalyvfm_opt.errors import BadDataError
from anomalyvfm_opt.spec.model import DataSection

_SLIVER = 0.05  # of a tile
_LEAST_CONTENT_PX = 16


@dataclass(frozen=True)
class Geometry:
    """How a category's images are brought to one size.

    Args:
        frame_px: height and width of a decoded image.
        tile_px: side of the square that the network sees; the frame's own where there is one tile.
        stride_px: from one tile to the next.
        keeps_aspect: whether an image keeps its proportions, with padding beside it.
    """

    frame_px: tuple[int, int]
    tile_px: int
    stride_px: int
    keeps_aspect: bool = False

    @classmethod
    def square(cls, side_px: int, keeps_aspect: bool = False) -> "Geometry":
        """Square frames that the network sees as a whole."""
        return cls((side_px, side_px), side_px, side_px, keeps_aspect)

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Top and left (px) of every tile, row by row."""
        tops, lefts = (range(0, side - self.tile_px + 1, self.stride_px) for side in self.frame_px)
        return [(top, left) for top in tops for left in lefts]

    @property
    def is_tiled(self) -> bool:
        """Whether a frame has more than one tile."""
        return len(self.corners) > 1

    def fit(self, image_px: tuple[int, int]) -> tuple[int, int]:
        """Height and width (px) that an image of (height, width) takes in the frame; the rest is padding."""
        if not self.keeps_aspect:
            return self.frame_px
        scale = min(frame / side for frame, side in zip(self.frame_px, image_px, strict=True))
        height, width = (max(1, round(scale * side)) for side in image_px)
        return min(height, self.frame_px[0]), min(width, self.frame_px[1])

    def describe(self) -> str:
        """Return a few words for people, such as `2072x518 px, aspect kept, 4 tiles of 518 px`."""
        height, width = self.frame_px
        words = [f"{width}x{height} px", *(["aspect kept"] if self.keeps_aspect else [])]
        return ", ".join([*words, *([f"{len(self.corners)} tiles of {self.tile_px} px"] if self.is_tiled else [])])


def choose_geometry(section: DataSection, records: Sequence[ImageRecord]) -> Geometry:
    """Return the geometry of a category.

    With tiles and `aspect: keep` the frame is no larger than its images need: the longer side is
    `image_size_px`, the other the fewest tiles that hold every image. So it depends on the sizes of the images.

    Args:
        section: of the spec.
        records: the images to train on, the same on every host.

    Raises:
        BadDataError: a file's size cannot be read.
    """
    side, tiles = section.image_size_px, section.tiles
    keeps_aspect = section.aspect == "keep"
    if tiles is None:
        return Geometry.square(side, keeps_aspect)
    stride = tiles.size_px - tiles.overlap_px
    tiled = Geometry((side, side), tiles.size_px, stride, keeps_aspect)
    if not keeps_aspect:
        return tiled
    sizes = np.array([tiled.fit(read_size_px(record.path)) for record in records])
    height, width = (_round_up(int(longest), tiles.size_px, stride) for longest in sizes.max(axis=0))
    return Geometry((height, width), tiles.size_px, stride, keeps_aspect)


def _round_up(length: int, tile: int, stride: int) -> int:
    """Return the least length that tiles cover exactly and that holds all but a sliver of what is wanted.

    A sliver is a twentieth of a tile: rather than look at another row of tiles, images are made that much smaller.
    """
    return tile + max(0, math.ceil((length - tile - _SLIVER * tile) / stride)) * stride


def measure_content(geometry: Geometry, paths: Sequence[Path]) -> np.ndarray:
    """Height and width (px) that images take in their frames: int64 (n, 2).

    Raises:
        BadDataError: a file's size cannot be read, or an image is too thin.
    """
    if not geometry.keeps_aspect:
        return np.tile(np.array(geometry.frame_px, dtype=np.int64), (len(paths), 1))
    content_px = [fit_content(geometry, read_size_px(path), str(path)) for path in paths]
    return np.array(content_px, dtype=np.int64).reshape(-1, 2)


def fit_content(geometry: Geometry, image_px: tuple[int, int], name: str) -> tuple[int, int]:
    """Return height and width (px) that one image takes in its frame.

    Args:
        geometry: of the frame.
        image_px: height and width of the image.
        name: of the image, for messages.

    Raises:
        BadDataError: the image is too thin.
    """
    height, width = geometry.fit(image_px)
    if geometry.keeps_aspect and min(height, width) < _LEAST_CONTENT_PX:
        raise BadDataError(
            f"{name} would be {width}x{height} px with its aspect kept: too thin to see a defect in",
            "raise data.image_size_px, or use aspect: stretch",
        )
    return height, width
