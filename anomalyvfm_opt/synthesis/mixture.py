"""Pools of synthetic anomalies, made once per category, and what one trial takes from them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.space import INTENSITIES as INTENSITIES
from anomalyvfm_opt.synthesis.change import Pair, Pixels
from anomalyvfm_opt.synthesis.contextual import make_contextual
from anomalyvfm_opt.synthesis.structural import make_structural
from anomalyvfm_opt.synthesis.texture import make_texture

KINDS = ("texture", "structural", "contextual")

Generator = Callable[[Pixels, Pixels, float, np.random.Generator], Pair]

_GENERATORS: dict[str, Generator] = {
    "texture": make_texture,
    "structural": make_structural,
    "contextual": make_contextual,
}
_POOL_STREAM, _DRAW_STREAM = 1, 2  # keep the random numbers of pools and draws apart under equal seeds


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """How many synthetic anomalies a trial trains on, of which kinds, and how strong.

    Raises:
        ValueError: a share is negative, the shares do not sum to 1, the count is negative,
            or the intensity is not above 0.
    """

    texture: float
    structural: float
    contextual: float
    count: int
    intensity: float

    def __post_init__(self) -> None:
        shares = [getattr(self, kind) for kind in KINDS]
        if not (all(share >= 0 for share in shares) and abs(sum(shares) - 1) <= 1e-6):
            raise ValueError(f"the shares {dict(zip(KINDS, shares, strict=True))} must be >= 0 and sum to 1")
        if self.count < 0:
            raise ValueError(f"count is {self.count}, but must be 0 or more")
        if not 0 < self.intensity < math.inf:
            raise ValueError(f"intensity is {self.intensity}, but must be above 0")

    @classmethod
    def of(cls, p: Parameters) -> Self:
        """Return what a trial of these parameters trains on."""
        return cls(
            texture=p.texture,
            structural=p.structural,
            contextual=p.contextual,
            count=p.synthesis_count,
            intensity=p.synthesis_intensity,
        )

    def counts(self) -> dict[str, int]:
        """Return how many of each kind: shares of the count, rounded by largest remainder to sum to it."""
        shares = [getattr(self, kind) for kind in KINDS]
        exact = [self.count * share / sum(shares) for share in shares]
        rounded = [math.floor(number) for number in exact]
        by_remainder = sorted(range(len(KINDS)), key=lambda i: rounded[i] - exact[i])
        for i in by_remainder[: self.count - sum(rounded)]:
            rounded[i] += 1
        return dict(zip(KINDS, rounded, strict=True))


def fill_pool(
    images: Pixels,
    masks: Pixels,
    kind: str,
    intensity: float,
    normals: Pixels,
    seed: int,
    start: int = 0,
    content_px: NDArray[np.int64] | None = None,
) -> None:
    """Writes items `start`, `start + 1`, ... of a pool into arrays that may be memory-mapped.

    Item i depends on nothing but (normals, kind, intensity, seed, i): a larger pool begins with
    the smaller one, and parts of a pool may be filled in any order or by several processes.

    Args:
        images: receives uint8 (m, h, w, 3).
        masks: receives uint8 {0, 1} (m, h, w).
        kind: one of `KINDS`.
        intensity: above 0.
        normals: normal images, uint8 (n, h, w, 3); only a few are read per item.
        seed: 0 or more.
        start: number of the first item.
        content_px: (n, 2), height and width of each normal image's part, from the top left, that is no padding:
            anomalies lie in it. None where there is no padding.

    Raises:
        KeyError: there is no such kind.
        ValueError: there are no normal images, or the seed or intensity is out of range.
        BadDataError: the normal images are so alike that no visible anomaly can be made.
    """
    if len(normals) == 0:
        raise ValueError("a pool needs at least one normal image, but there are none")
    generate = _GENERATORS[kind]
    whole = np.array(normals.shape[1:3])
    level = round(1000 * intensity)
    for i in range(len(images)):
        rng = np.random.default_rng((seed, _POOL_STREAM, KINDS.index(kind), level, start + i))
        chosen = int(rng.integers(len(normals)))
        others = _others(normals, chosen, rng)
        height, width = whole if content_px is None else content_px[chosen]
        if content_px is not None and kind == "contextual" and len(np.unique(content_px, axis=0)) > 1:
            other = int(rng.integers(len(normals)))  # a patch of another image, from where both have content
            height, width = np.minimum(content_px[chosen], content_px[other])
            others = normals[other : other + 1]
        others = others[:, :height, :width]
        images[i], masks[i] = normals[chosen], 0
        images[i, :height, :width], masks[i, :height, :width] = generate(
            normals[chosen, :height, :width], others, intensity, rng
        )


def draw(mixture: Mixture, pool_size: int, seed: int) -> dict[str, NDArray[np.int64]]:
    """Return which items of each kind's pool a trial trains on, without replacement.

    Under one seed a larger count contains the smaller one: two mixtures differ in no more than they must.

    Args:
        mixture: how many of each kind.
        pool_size: the number of items in each pool.
        seed: the trial's seed, 0 or more.

    Returns:
        For each of `KINDS`, int64 (count,) indices into its pool.

    Raises:
        ValueError: a pool is smaller than what is asked of it.
    """
    chosen = {}
    for i, (kind, count) in enumerate(mixture.counts().items()):
        if count > pool_size:
            raise ValueError(f"{count} {kind} anomalies are asked of a pool of {pool_size}: make it larger")
        rng = np.random.default_rng((seed, _DRAW_STREAM, i))
        chosen[kind] = rng.permutation(pool_size)[:count]
    return chosen


def _others(normals: Pixels, chosen: int, rng: np.random.Generator) -> Pixels:
    """Normal images besides the chosen one, as a view: those before it or those after it.

    The side is drawn in proportion to its size, so a random image of it is uniform among all others.
    """
    if len(normals) == 1:
        return normals
    is_before = rng.integers(len(normals) - 1) < chosen
    return normals[:chosen] if is_before else normals[chosen + 1 :]
