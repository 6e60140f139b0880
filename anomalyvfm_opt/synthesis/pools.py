"""The pools of a category, kept on disk by the host: a trial's mix, count and seed choose from them."""

import numpy as np

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.synthesis.mixture import KINDS, Mixture, draw, fill_pool

_SEED = 20260  # one pool for all trials
_VERSION = 1  # counts up when a generator changes what it makes


class PoolStore:
    """Synthetic anomalies of one category, made when they are first asked for.

    Args:
        arrays: the host's store.
        normal: the images to train on, uint8 (n, h, w, 3).
        content: what identifies these images on any host.
        size: anomalies in each pool.
    """

    def __init__(self, arrays: ArrayStore, normal: np.ndarray, content: str, size: int) -> None:
        self._arrays = arrays
        self._normal = normal
        self._content = content
        self._size = size

    def draw(self, mixture: Mixture, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """A trial's anomalies: images uint8 (count, h, w, 3) and masks uint8 (count, h, w) of 0 and 1."""
        size = max(self._size, mixture.count)
        chosen = draw(mixture, size, seed)
        parts = [self._open(kind, mixture.intensity, size)[chosen[kind]] for kind in KINDS if len(chosen[kind])]
        anomalies = np.concatenate(parts)
        return anomalies[..., :3], anomalies[..., 3]

    def _open(self, kind: str, intensity: float, size: int) -> np.ndarray:
        """One pool, uint8 (size, h, w, 4): the fourth channel is the mask."""

        def build(out: np.ndarray) -> None:
            fill_pool(out[..., :3], out[..., 3], kind, intensity, self._normal, _SEED)

        key = f"pool {_VERSION} {kind} {intensity} {size} {self._normal.shape} {self._content}"
        return self._arrays.get(key, build, (size, *self._normal.shape[1:3], 4), np.uint8)
