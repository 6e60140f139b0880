"""Contextual anomalies: what belongs to the product, but not there."""

import numpy as np

from anomalyvfm_opt.synthesis.change import (
    Change,
    Pair,
    Pixels,
    blend,
    change_of,
    check_intensity,
    first_visible,
)
from anomalyvfm_opt.synthesis.regions import draw_patch

_PATCH_PX = (80.0, 160.0)
_SHARE = (0.6, 0.8)  # of the foreign patch, at intensity 1.0
_LEAST_LEVELS = 8.0  # mean change at intensity 1.0 below which another place is tried


def make_contextual(image: Pixels, others: Pixels, intensity: float, rng: np.random.Generator) -> Pair:
    """Blends a patch of another normal image, from any place in it, into a rectangle or blob.

    As in AnomalyVFM v1.2 (80-160 px at 518 px, blended at 0.6-0.8), with the share scaled by the intensity
    and at most 1. Where the two contents look alike nothing has changed: another place is tried, and
    only pixels that visibly differ are marked.

    Args:
        image: the normal image, uint8 (h, w, 3).
        others: other normal images of the same size, uint8 (n, h, w, 3), n at least 1.
        intensity: above 0.
        rng: the source of randomness.

    Returns:
        The altered image, uint8 (h, w, 3), and the mask of what changed, uint8 {0, 1} (h, w).

    Raises:
        ValueError: the intensity is not above 0, or there is no other image of the same size.
        BadDataError: no place was found where the contents differ.
    """
    check_intensity(intensity)
    if len(others) == 0 or others.shape[1:] != image.shape:
        raise ValueError(f"others has shape {others.shape}, but needs at least one image of {image.shape}")
    image_px = (image.shape[0], image.shape[1])

    def attempt() -> Change:
        region = draw_patch(_PATCH_PX, image_px, rng)
        height, width = region.opacity.shape
        top = int(rng.integers(image_px[0] - height + 1))
        left = int(rng.integers(image_px[1] - width + 1))
        foreign = others[int(rng.integers(len(others))), top : top + height, left : left + width]
        share = min(1.0, float(rng.uniform(*_SHARE)) * intensity)
        return change_of(image, region, blend(image, region, foreign, share))

    return first_visible(image, attempt, least_coverage=0.3, least_levels=_LEAST_LEVELS * min(1.0, intensity))
