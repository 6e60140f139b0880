"""From tiles back to images: maps are put together, and the most anomalous tile speaks for its image."""

import math

import numpy as np

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.errors import UsageError


def check_grid(geometry: Geometry, grid: int) -> None:
    """See that the cells of neighbouring tiles fall on each other, so that maps can be put together.

    Args:
        geometry: of the frames.
        grid: cells along a side of a tile's map.

    Raises:
        UsageError: they do not.
    """
    if not geometry.is_tiled:
        return
    cell_px = math.ceil(geometry.tile_px / grid)
    if geometry.tile_px % grid or geometry.stride_px % cell_px:
        raise UsageError(
            f"data.tiles: tiles of {geometry.tile_px} px every {geometry.stride_px} px do not fit this backbone,"
            f" whose coarsest map has {grid} cells a tile",
            f"make size_px and overlap_px multiples of {cell_px}",
        )


def stitch_maps(frames: Frames, tile_maps: np.ndarray) -> np.ndarray:
    """Maps of images from maps of their tiles; where tiles overlap, the mean.

    Args:
        frames: n images of t tiles.
        tile_maps: float32 (t, g, g).

    Returns:
        float32 (n, h, w): a cell is as large as in `tile_maps`; 0 where no tile was.
    """
    geometry, grid = frames.geometry, tile_maps.shape[1]
    if not geometry.is_tiled:
        return tile_maps
    shape = (len(frames), *(side * grid // geometry.tile_px for side in geometry.frame_px))
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for (index, top, left), tile_map in zip(frames.tiles, tile_maps, strict=True):
        y, x = top * grid // geometry.tile_px, left * grid // geometry.tile_px
        total[index, y : y + grid, x : x + grid] += tile_map
        count[index, y : y + grid, x : x + grid] += 1
    stitched: np.ndarray = total / np.maximum(count, 1)
    return stitched


def take_highest(frames: Frames, tile_scores: np.ndarray) -> np.ndarray:
    """Return the score of the most anomalous tile of each image: float64 (n,) of float (t,)."""
    highest = np.full(len(frames), -np.inf)
    np.maximum.at(highest, frames.tiles[:, 0], tile_scores)
    return highest


def mean_of_top(frames: Frames, maps: np.ndarray, share: float) -> np.ndarray:
    """Mean over the highest cells of each map, padding left out: float64 (n,) of float32 (n, h, w).

    Args:
        frames: n images.
        maps: of these images.
        share: of an image's cells, 0-1; at least one cell.
    """
    counts = _count_cells(frames, (maps.shape[1], maps.shape[2]))
    return np.array([_mean_of_highest(one[:h, :w], share) for one, (h, w) in zip(maps, counts, strict=True)])


def mark_content(frames: Frames, shape: tuple[int, int]) -> np.ndarray:
    """Return which cells of maps of a shape (h, w) are no padding: bool (n, h, w)."""
    is_content = np.zeros((len(frames), *shape), bool)
    for index, (height, width) in enumerate(_count_cells(frames, shape)):
        is_content[index, :height, :width] = True
    return is_content


def mark_tile_content(frames: Frames, grid: int) -> np.ndarray:
    """Return which cells of the maps of tiles are no padding: bool (t, grid, grid)."""
    cell_px = frames.geometry.tile_px / grid
    starts = np.arange(grid) * cell_px
    content = frames.content_px[frames.tiles[:, 0]] - frames.tiles[:, 1:]  # (t, 2), px from the tile's corner
    is_row, is_column = (starts[None, :] < content[:, axis, None] for axis in (0, 1))
    is_content: np.ndarray = is_row[:, :, None] & is_column[:, None, :]
    return is_content


def _count_cells(frames: Frames, shape: tuple[int, int]) -> np.ndarray:
    """Rows and columns of each map of a shape (h, w) that are no padding, int64 (n, 2)."""
    cells = frames.content_px * np.array(shape) / np.array(frames.geometry.frame_px)
    counts: np.ndarray = np.maximum(1, np.ceil(cells)).astype(np.int64)
    return counts


def _mean_of_highest(values: np.ndarray, share: float) -> float:
    count = max(1, round(values.size * share))
    return float(np.partition(values.ravel().astype(np.float64), values.size - count)[-count:].mean())
