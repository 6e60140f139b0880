"""Drawing a trial's training set from the pools, against making each of its synthetic anomalies anew."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import load_images
from anomalyvfm_opt.data.demo import write_demo
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.data.layout import read_category
from anomalyvfm_opt.synthesis.mixture import Mixture, fill_pool
from anomalyvfm_opt.synthesis.pools import PoolStore

IMAGE_SIZE_PX = 96
POOL_SIZE = 120
MIXTURE = Mixture(texture=1 / 3, structural=1 / 3, contextual=1 / 3, count=90, intensity=1.0)  # v1.1
REPEATS = 5


def measure(work: Callable[[int], object]) -> float:
    """Median seconds over trials with other seeds."""
    seconds = []
    for seed in range(REPEATS):
        started = time.perf_counter()
        work(seed)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_demo(data)
        arrays = ArrayStore(Path(folder) / "cache")
        normals = load_images(arrays, read_category(data, "gravel").train, Geometry.square(IMAGE_SIZE_PX))
        pools = PoolStore(arrays, normals, "demo", POOL_SIZE)

        def draw_set(seed: int) -> np.ndarray:
            return pools.draw(MIXTURE, seed)[0]

        def make_set(seed: int) -> np.ndarray:
            images = np.empty((MIXTURE.count, *normals.pixels.shape[1:]), np.uint8)
            masks, start = np.empty(images.shape[:3], np.uint8), 0
            for kind, count in MIXTURE.counts().items():
                part = slice(start, start + count)
                fill_pool(images[part], masks[part], kind, MIXTURE.intensity, normals.pixels, seed)
                start += count
            return images

        started = time.perf_counter()
        draw_set(0)
        fill_s = time.perf_counter() - started
        drawn_s, made_s = measure(draw_set), measure(make_set)
    print(f"{MIXTURE.count} synthetic anomalies of {IMAGE_SIZE_PX} px (medians of {REPEATS} trials)")
    print(f"filling three pools of {POOL_SIZE}, once {1000 * fill_s:8.1f} ms")
    print(f"drawn from the pools            {1000 * drawn_s:8.1f} ms")
    print(f"made anew                       {1000 * made_s:8.1f} ms")
    print(f"ratio                           {made_s / drawn_s:8.1f} times faster")
    print(f"the pools pay from trial {int(np.ceil(fill_s / (made_s - drawn_s)))} on")


if __name__ == "__main__":
    main()
