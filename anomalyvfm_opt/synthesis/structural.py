"""Structural anomalies: spots, holes, bars, scratches and cracks that the product does not have."""

import numpy as np
from numpy.typing import NDArray

from anomalyvfm_opt.synthesis.change import (
    Change,
    Pair,
    Pixels,
    blend,
    change_of,
    check_intensity,
    first_visible,
    is_grey,
)
from anomalyvfm_opt.synthesis.regions import Region, draw_blob, draw_disc, draw_length, draw_stroke, place

_FORMS = ("circle", "rectangle", "line", "blob", "crack")
_OPACITY = 0.65  # at intensity 1.0; opaque from about 1.5
_CONTRAST = (90.0, 200.0)  # levels of 255 between the fill and what it covers, where there is room


def make_structural(image: Pixels, others: Pixels, intensity: float, rng: np.random.Generator) -> Pair:
    """Paints a circle, rectangle, line, blob or branching crack in a shade that differs from the local one.

    Sizes as in AnomalyVFM v1.2 (circle of radius 15-60, rectangle 40-120, line 3-15 px at 518 px); blobs and
    cracks also come smaller. Intensity is contrast: the paint's opacity is 0.65 x intensity, at most 1,
    so that a faint one stays faint on a surface that is black and white.

    Args:
        image: the normal image, uint8 (h, w, 3).
        others: not used; other normal images, uint8 (n, h, w, 3).
        intensity: above 0.
        rng: the source of randomness.

    Returns:
        The altered image, uint8 (h, w, 3), and the mask of what changed, uint8 {0, 1} (h, w).

    Raises:
        ValueError: the intensity is not above 0.
    """
    check_intensity(intensity)
    image_px = (image.shape[0], image.shape[1])
    grey = is_grey(image)
    form = _FORMS[int(rng.integers(len(_FORMS)))]

    def attempt() -> Change:
        region = _draw_form(form, image_px, rng)
        paint = _contrasting_shade(image[region.window][region.inside], grey, rng)
        return change_of(image, region, blend(image, region, paint, min(1.0, _OPACITY * intensity)))

    return first_visible(image, attempt, least_coverage=0.6, least_levels=0.0)


def _draw_form(form: str, image_px: tuple[int, int], rng: np.random.Generator) -> Region:
    softness_px = float(rng.uniform(0, 0.012) * min(image_px))
    if form == "circle":
        return place(draw_disc(draw_length(15, 60, image_px, rng)), image_px, softness_px, rng)
    if form == "rectangle":
        sides = (draw_length(40, 120, image_px, rng), draw_length(40, 120, image_px, rng))
        return place(np.ones(sides, bool), image_px, softness_px, rng)
    if form == "blob":
        height, width = (max(4, draw_length(16, 140, image_px, rng)) for _ in range(2))
        return place(draw_blob(height, width, rng), image_px, softness_px, rng)
    thickness_px = draw_length(3, 15, image_px, rng)
    length_px = draw_length(60, 300, image_px, rng)
    if form == "line":
        return draw_stroke(length_px, thickness_px, 1, 0, image_px, rng)
    segments, branches = int(rng.integers(3, 8)), int(rng.integers(0, 4))
    return draw_stroke(length_px, max(1, thickness_px // 2), segments, branches, image_px, rng)


def _contrasting_shade(covered: Pixels, grey: bool, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a colour float32 (3,) away from the mean of the covered pixels, uint8 (k, 3): darker or lighter.

    The side is random where both have room for the contrast, else the one that has more room.
    """
    local = covered.mean(0)
    contrast = rng.uniform(*_CONTRAST)
    room_above, room_below = 255 - local.mean(), local.mean()
    if min(room_above, room_below) >= contrast:
        sign = rng.choice((-1.0, 1.0))
    else:
        sign = 1.0 if room_above > room_below else -1.0
    weights = np.ones(3) if grey else rng.uniform(0.4, 1.0, 3)
    shade = local + sign * contrast * weights / weights.max()
    clipped: NDArray[np.float32] = np.clip(shade, 0, 255).astype(np.float32)
    return clipped
