"""Decoded images with what is known of their padding, and the tiles of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from anomalyvfm_opt.data.geometry import Geometry


@dataclass(frozen=True)
class Frames:
    """n decoded images.

    Args:
        pixels: uint8 (n, h, w, 3).
        content_px: int (n, 2), height and width of the image in its frame, from the top left; beyond is padding.
        geometry: of all of them.
        rows: int (m,), which of the pixels' rows are theirs; None for all, in order.
    """

    pixels: np.ndarray
    content_px: np.ndarray
    geometry: Geometry
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.content_px)

    @property
    def has_padding(self) -> bool:
        """Whether any of them is smaller than its frame."""
        return bool((self.content_px < self.geometry.frame_px).any())

    def choose(self, indices: np.ndarray | slice) -> "Frames":
        """Some of them; nothing is read from the disk yet."""
        rows = np.arange(len(self)) if self.rows is None else self.rows
        return Frames(self.pixels, self.content_px[indices], self.geometry, rows[indices])

    def read(self, index: int) -> np.ndarray:
        """Return the pixels of one of them, uint8 (h, w, 3)."""
        pixels: np.ndarray = self.pixels[index if self.rows is None else self.rows[index]]
        return pixels

    @cached_property
    def tiles(self) -> np.ndarray:
        """Number of the frame, top and left of each tile, in order: int64 (t, 3); none of mere padding."""
        rows = [
            (index, top, left)
            for index, (height, width) in enumerate(self.content_px)
            for top, left in self.geometry.corners
            if top < height and left < width
        ]
        return np.array(rows, dtype=np.int64).reshape(-1, 3)

    def read_tiles(self, start: int, stop: int) -> np.ndarray:
        """Return the pixels of tiles `start` to `stop`, uint8 (b, tile, tile, 3)."""
        side = self.geometry.tile_px
        return np.stack([self.read(i)[y : y + side, x : x + side] for i, y, x in self.tiles[start:stop]])

    def read_random_squares(self, indices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return as much of some frames as the network sees at once: a random tile of each, or the whole.

        Args:
            indices: int (b,), numbers of the frames.
            rng: where the tiles lie; not used where a frame is one tile.

        Returns:
            uint8 (b, tile, tile, 3).
        """
        if not self.geometry.is_tiled:
            return np.stack([self.read(index) for index in indices])
        side = self.geometry.tile_px
        corners = [draw_corner(self.content_px[index], side, rng) for index in indices]
        squares = zip(indices, corners, strict=True)
        return np.stack([self.read(i)[y : y + side, x : x + side] for i, (y, x) in squares])


def draw_corner(content_px: np.ndarray, side_px: int, rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of a random square in an image: inside it where it is large enough, else at its corner.

    Args:
        content_px: int (2,), height and width of the image.
        side_px: of the square.
        rng: the source of randomness; not used where there is no choice.
    """
    top, left = (
        int(rng.integers(side - side_px + 1)) if side > side_px else 0 for side in (int(s) for s in content_px)
    )
    return top, left
