"""The pools of a category, kept on disk by the host: a trial's mix, count and seed choose from them."""

import numpy as np

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.synthesis.mixture import KINDS, Mixture, draw, fill_pool

_SEED = 20260  # one pool for all trials
_SQUARE_STREAM = 4
_MOST_SQUARES = 512
_VERSION = 3  # counts up when a generator changes what it makes


class PoolStore:
    """Synthetic anomalies of one category, made when they are first asked for.

    Args:
        arrays: the host's store.
        normal: the images to train on.
        content: what identifies these images on any host.
        size: anomalies in each pool.
    """

    def __init__(self, arrays: ArrayStore, normal: Frames, content: str, size: int) -> None:
        self._arrays = arrays
        self._content = f"{normal.geometry} {content}"
        self._size = size
        self._opened: dict[str, np.ndarray] = {}  # so that a store that keeps nothing fills a pool once
        seen_px = np.minimum(normal.content_px, normal.geometry.tile_px)
        if normal.geometry.is_tiled:
            self._normal = self._cut_squares(normal)
            seen_px = seen_px[np.arange(len(self._normal)) % len(normal)]
        else:
            self._normal = normal.pixels
        self._content_px = seen_px if normal.has_padding else None

    def _cut_squares(self, normal: Frames) -> np.ndarray:
        """Return what anomalies are made on where a network sees tiles: random ones, uint8 (n, tile, tile, 3)."""
        wanted = len(normal) * len(normal.geometry.corners)
        count = max(len(normal), min(wanted, _MOST_SQUARES))

        def build(out: np.ndarray) -> None:
            rng = np.random.default_rng((_SEED, _SQUARE_STREAM))
            for index in range(count):
                out[index] = normal.read_random_squares(np.array([index % len(normal)]), rng)[0]

        side = normal.geometry.tile_px
        return self._arrays.get(
            f"squares {_VERSION} {count} {self._content}", build, (count, side, side, 3), np.uint8
        )

    def draw(self, mixture: Mixture, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a trial's anomalies: images uint8 (count, h, w, 3) and masks uint8 (count, h, w) of 0 and 1."""
        size = max(self._size, mixture.count)
        chosen = draw(mixture, size, seed)
        parts = [self._open(kind, mixture.intensity, size)[chosen[kind]] for kind in KINDS if len(chosen[kind])]
        anomalies = np.concatenate(parts)
        return anomalies[..., :3], anomalies[..., 3]

    def _open(self, kind: str, intensity: float, size: int) -> np.ndarray:
        """Return one pool, uint8 (size, h, w, 4): the fourth channel is the mask."""

        def build(out: np.ndarray) -> None:
            images, masks = out[..., :3], out[..., 3]
            fill_pool(images, masks, kind, intensity, self._normal, _SEED, content_px=self._content_px)

        key = f"pool {_VERSION} {kind} {intensity} {size} {self._content}"
        if key not in self._opened:
            self._opened[key] = self._arrays.get(key, build, (size, *self._normal.shape[1:3], 4), np.uint8)
        return self._opened[key]
