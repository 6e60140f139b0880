"""From altered pixels to an image and a mask that tells the truth about them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anomalyvfm_opt.errors import BadDataError
from anomalyvfm_opt.synthesis.regions import Region, Shape

Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]
Pair = tuple[Pixels, Pixels]  # an image (h, w, 3) and its mask (h, w)

VISIBLE_LEVELS = 3  # of 255: a pixel that changes by less counts as unchanged
_SMALLEST_PX = 3  # fewer changed pixels than this are no anomaly
_ATTEMPTS = 24


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one attempt would do to an image.

    `pixels` is uint8 (a, b, 3) for the region's window, `mask` bool (a, b) marks those that change;
    `coverage` is the part of the region's shape that changes, `levels` the mean change (of 255) there.
    """

    region: Region
    pixels: Pixels
    mask: Shape
    coverage: float
    levels: float


def change_of(image: Pixels, region: Region, altered: Field) -> Change:
    """Return what is left of an alteration (float32 (a, b, 3), 0-255) once invisible changes are taken back.

    The mask is the set of visibly changed pixels with its pinholes closed, inside the region's shape:
    a blend with equal content, or noise of nearly 0, marks nothing.
    """
    before = image[region.window]
    after = np.clip(np.rint(altered), 0, 255).astype(np.uint8)
    difference = np.abs(after.astype(np.int16) - before).max(-1)
    mask = _close(difference >= VISIBLE_LEVELS) & region.inside
    marked = int(mask.sum())
    return Change(
        region=region,
        pixels=np.where(mask[..., None], after, before),
        mask=mask,
        coverage=marked / max(1, int(region.inside.sum())) if marked >= _SMALLEST_PX else 0.0,
        levels=float(difference[mask].mean()) if marked else 0.0,
    )


def first_visible(
    image: Pixels, attempt: Callable[[], Change], least_coverage: float, least_levels: float
) -> Pair:
    """Tries until an attempt is visible enough; else takes the most visible of all that were made.

    Returns:
        The altered image, uint8 (h, w, 3), and its mask, uint8 {0, 1} (h, w), which is never empty.

    Raises:
        BadDataError: no attempt changed anything: all content that could be pasted is the same.
    """
    best: Change | None = None
    for _ in range(_ATTEMPTS):
        change = attempt()
        if change.coverage >= least_coverage and change.levels >= least_levels:
            best = change
            break
        if best is None or change.coverage * change.levels > best.coverage * best.levels:
            best = change
    if best is None or best.coverage == 0:
        raise BadDataError(
            f"{_ATTEMPTS} attempts made no visible anomaly on a {image.shape[1]}x{image.shape[0]} px image",
            "are the normal images blank, or all of the same flat colour?",
        )
    altered, mask = image.copy(), np.zeros(image.shape[:2], np.uint8)
    altered[best.region.window] = best.pixels
    mask[best.region.window] = best.mask
    return altered, mask


def blend(image: Pixels, region: Region, content: Pixels | Field, share: float) -> Field:
    """Return the region's window, float32 (a, b, 3), with `share` (0-1) of new content; less at soft edges."""
    before = image[region.window].astype(np.float32)
    return before + (share * region.opacity)[..., None] * (content - before)


def is_grey(image: Pixels) -> bool:
    """Return whether the three channels are equal: colour in a grey image would give an anomaly away."""
    return bool((image[..., :2] == image[..., 1:]).all())


def check_intensity(intensity: float) -> None:
    """Refuses an intensity that is not a positive number.

    Raises:
        ValueError: zero, negative, infinite or NaN.
    """
    if not 0 < intensity < float("inf"):
        raise ValueError(f"intensity is {intensity}, but must be above 0 (1.0 is AnomalyVFM v1.2's)")


def _close(changed: Shape) -> Shape:
    """Morphological closing with a 3x3 square, in which the world beyond the window counts for nothing."""
    square = np.ones((3, 3), bool)
    grown = ndimage.binary_dilation(changed, square)
    closed: Shape = ndimage.binary_erosion(grown, square, border_value=1)
    return closed
