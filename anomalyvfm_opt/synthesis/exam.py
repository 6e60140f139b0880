"""The fixed exam: synthetic anomalies that every trial is scored on and none trains on.

Its three generators differ from those of the pools, so that a trial cannot win by having trained on the
exam's own kind. Difficulty is fixed and moderate, sizes vary; one exam serves all trials of a category.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from anomalyvfm_opt.synthesis.change import (
    Change,
    Field,
    Pair,
    Pixels,
    blend,
    change_of,
    first_visible,
    is_grey,
)
from anomalyvfm_opt.synthesis.foreign import draw_foreign, perlin_noise
from anomalyvfm_opt.synthesis.regions import Region, draw_length, place

EXAM_KINDS = ("perlin", "cutpaste", "scar")

Window = tuple[slice, slice]
ChooseWindow = Callable[[int, np.random.Generator], Window]

_EXAM_STREAM = 3  # keeps the exam's random numbers apart from those of pools and draws
_LEAST_COVERAGE, _LEAST_LEVELS = 0.3, 12.0
# lengths in px at 518 px, areas as parts of the image's
_PERLIN_CELLS = (2, 3, 4, 6, 8, 12)
_PERLIN_AREA, _PERLIN_SHARE = (0.001, 0.06), (0.3, 0.6)
_CUTPASTE_AREA = (0.004, 0.06)
_SCAR_LENGTH_PX, _SCAR_WIDTH_PX = (40.0, 160.0), (5.0, 20.0)


def make_perlin(image: Pixels, rng: np.random.Generator) -> Pair:
    """Blends a foreign texture into one to three islands of Perlin noise (as DRAEM, Zavrtanik et al. 2021).

    The textures are made by formula instead of taken from an outside data set; the share is 0.3-0.6.

    Args:
        image: the normal image, uint8 (h, w, 3).
        rng: the source of randomness.

    Returns:
        The altered image, uint8 (h, w, 3), and the mask of what changed, uint8 {0, 1} (h, w).
    """
    grey = is_grey(image)

    def attempt() -> Change:
        region = _islands((image.shape[0], image.shape[1]), rng)
        content = draw_foreign(image, grey, rng)[region.window]
        return change_of(image, region, blend(image, region, content, float(rng.uniform(*_PERLIN_SHARE))))

    return first_visible(image, attempt, _LEAST_COVERAGE, _LEAST_LEVELS)


def make_cutpaste(image: Pixels, rng: np.random.Generator) -> Pair:
    """Pastes a jittered rectangle of the same image elsewhere (CutPaste, Li et al. 2021).

    Aspect ratios as in the paper (0.3-3.3); areas are smaller (0.4-6% of the image), as real defects are.

    Args:
        image: the normal image, uint8 (h, w, 3).
        rng: the source of randomness.

    Returns:
        The altered image, uint8 (h, w, 3), and the mask of what changed, uint8 {0, 1} (h, w).

    Raises:
        BadDataError: the image is flat: all its patches are the same.
    """
    image_px = (image.shape[0], image.shape[1])
    grey = is_grey(image)

    def attempt() -> Change:
        area = math.exp(rng.uniform(*np.log(_CUTPASTE_AREA))) * image_px[0] * image_px[1]
        aspect = math.exp(rng.uniform(math.log(0.3), math.log(3.3)))
        height = min(max(2, round(math.sqrt(area * aspect))), image_px[0])
        width = min(max(2, round(math.sqrt(area / aspect))), image_px[1])
        region = place(np.ones((height, width), bool), image_px, 0.0, rng)
        return change_of(image, region, _jitter(_cut(image, height, width, rng), 0.1, grey, rng))

    return first_visible(image, attempt, _LEAST_COVERAGE, _LEAST_LEVELS)


def make_scar(image: Pixels, rng: np.random.Generator) -> Pair:
    """Pastes a thin, jittered, rotated rectangle of the same image elsewhere (CutPaste-scar, Li et al. 2021).

    Args:
        image: the normal image, uint8 (h, w, 3).
        rng: the source of randomness.

    Returns:
        The altered image, uint8 (h, w, 3), and the mask of what changed, uint8 {0, 1} (h, w).

    Raises:
        BadDataError: the image is black: nothing to paste could be seen.
    """
    image_px = (image.shape[0], image.shape[1])
    grey = is_grey(image)

    def attempt() -> Change:
        length = max(4, draw_length(*_SCAR_LENGTH_PX, image_px, rng))
        width = max(2, draw_length(*_SCAR_WIDTH_PX, image_px, rng))
        strip = Image.fromarray(_cut(image, min(width, length), length, rng)).convert("RGBA")
        turned = np.asarray(strip.rotate(rng.uniform(0, 180), Image.Resampling.NEAREST, expand=True))
        turned = turned[: image_px[0], : image_px[1]]
        region = place(turned[..., 3] > 0, image_px, 0.0, rng)
        content = _jitter(turned[..., :3], 0.25, grey, rng)
        return change_of(image, region, blend(image, region, content, 1.0))

    return first_visible(image, attempt, _LEAST_COVERAGE, _LEAST_LEVELS)


def fill_exam(
    images: Pixels,
    masks: Pixels,
    read_normal: Callable[[int], Pixels],
    bases: Sequence[int],
    seed: int,
    choose_window: ChooseWindow | None = None,
) -> None:
    """Write the exam's anomalous images into arrays that may be memory-mapped.

    Args:
        images: receives uint8 (count, h, w, 3).
        masks: receives uint8 {0, 1} (count, h, w).
        read_normal: gives a normal image by its number, uint8 (h, w, 3).
        bases: of `list_bases`: which normal image each is made of.
        seed: 0 or more.
        choose_window: given the number of a normal image and a source of randomness, the rows and columns that
            hold its anomaly, and whose shorter side sets its size; None for the whole image.
    """
    generators = (make_perlin, make_cutpaste, make_scar)
    for i, base in enumerate(bases):
        rng = np.random.default_rng((seed, _EXAM_STREAM, 1, i))
        window = choose_window(base, rng) if choose_window else (slice(None), slice(None))
        images[i], masks[i] = read_normal(base), 0
        images[i][window], masks[i][window] = generators[i % 3](images[i][window].copy(), rng)


def list_bases(normals: int, count: int, seed: int) -> list[int]:
    """Return which normal image each item of an exam is made of: all of them once before any is used again."""
    bases: list[int] = []
    while len(bases) < count:
        bases += (
            np.random.default_rng((seed, _EXAM_STREAM, 0, len(bases) // normals)).permutation(normals).tolist()
        )
    return bases[:count]


def list_kinds(count: int) -> list[str]:
    """Return the kind of each item of an exam."""
    return [EXAM_KINDS[i % 3] for i in range(count)]


def _islands(image_px: tuple[int, int], rng: np.random.Generator) -> Region:
    """Draw one to three islands of thresholded Perlin noise, of a random scale along each axis.

    Specks that nobody could see and continents are left out, if there is any island between them.
    """
    cells = (int(rng.choice(_PERLIN_CELLS)), int(rng.choice(_PERLIN_CELLS)))
    noise = perlin_noise(*image_px, cells, rng)
    parts, count = ndimage.label(noise > 0.5 * noise.max())
    areas = np.bincount(parts.ravel())[1:] / noise.size
    fitting = np.flatnonzero((areas >= _PERLIN_AREA[0]) & (areas <= _PERLIN_AREA[1]))
    candidates = fitting if len(fitting) else np.array([areas.argmax()])
    kept = 1 + rng.permutation(candidates)[: int(rng.integers(1, 4))]
    shape = np.isin(np.arange(count + 1), kept)[parts]
    rows, columns = (np.flatnonzero(shape.any(axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    return Region(top, left, shape[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.float32))


def _cut(image: Pixels, height: int, width: int, rng: np.random.Generator) -> Pixels:
    """Return a (height, width) window of the image from a random place, no larger than the image."""
    top = int(rng.integers(max(1, image.shape[0] - height + 1)))
    left = int(rng.integers(max(1, image.shape[1] - width + 1)))
    return image[top : top + height, left : left + width]


def _jitter(patch: Pixels, extent: float, grey: bool, rng: np.random.Generator) -> Field:
    """Brightness and contrast (and, in colour, the channels) changed by up to `extent` of themselves."""
    brightness, contrast = rng.uniform(1 - extent, 1 + extent, 2)
    tint = np.ones(3) if grey else rng.uniform(1 - extent, 1 + extent, 3)
    mean = patch.mean()
    jittered = (mean + (patch - mean) * contrast) * brightness * tint
    clipped: Field = np.clip(jittered, 0, 255).astype(np.float32)
    return clipped
