"""Opening decoded images from the store, against decoding them with Pillow each time."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import load_images
from anomalyvfm_opt.data.demo import write_demo
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.data.layout import list_categories, read_category

IMAGE_SIZE_PX = 96
REPEATS = 7


def measure(work: Callable[[], object]) -> float:
    """Median seconds."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def decode(paths: list[Path]) -> np.ndarray:
    """Decode and resize one by one."""
    size = (IMAGE_SIZE_PX, IMAGE_SIZE_PX)
    return np.stack(
        [np.asarray(Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC)) for path in paths]
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_demo(data, image_size_px=256)
        records = [r for name in list_categories(data) for r in read_category(data, name).train]
        store = ArrayStore(Path(folder) / "cache")
        started = time.perf_counter()
        geometry = Geometry.square(IMAGE_SIZE_PX)
        stored = load_images(store, records, geometry).pixels
        first_s = time.perf_counter() - started
        plain = decode([record.path for record in records])
        if not np.array_equal(stored, plain):
            raise SystemExit("the store and Pillow disagree")
        open_s = measure(lambda: load_images(store, records, geometry).pixels.sum())  # the sum reads every page
        plain_s = measure(lambda: decode([record.path for record in records]).sum())
    print(f"{len(records)} images of 256 px, read at {IMAGE_SIZE_PX} px (medians of {REPEATS})")
    print(f"the store, first time   {1000 * first_s:8.1f} ms")
    print(f"the store, from then on {1000 * open_s:8.1f} ms")
    print(f"Pillow, each time       {1000 * plain_s:8.1f} ms")
    print(f"ratio                   {plain_s / open_s:8.1f} times faster")


if __name__ == "__main__":
    main()
