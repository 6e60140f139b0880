"""Texture anomalies: a patch whose surface is rough with Gaussian noise."""

import numpy as np

from anomalyvfm_opt.synthesis.change import (
    Change,
    Field,
    Pair,
    Pixels,
    change_of,
    check_intensity,
    first_visible,
    is_grey,
)
from anomalyvfm_opt.synthesis.regions import draw_length, draw_patch, resize_field

NOISE_SD = 30.0  # of 255, at intensity 1.0
_PATCH_PX = (40.0, 120.0)
_GRAIN_PX = (1.0, 8.0)


def make_texture(image: Pixels, others: Pixels, intensity: float, rng: np.random.Generator) -> Pair:
    """Adds Gaussian noise of SD 30/255 x intensity to a rectangle or blob with soft edges.

    As in AnomalyVFM v1.2 (noise 20, 30 and 35 are intensity 0.67, 1.0 and 1.17). The grain is fine or coarse,
    and noise that would leave 0-255 is mirrored, so that black and white surfaces become rough as well.

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
    channels = 1 if is_grey(image) else 3

    def attempt() -> Change:
        region = draw_patch(_PATCH_PX, image_px, rng)
        grain_px = draw_length(*_GRAIN_PX, image_px, rng)
        height, width = region.opacity.shape
        noise = _grainy_noise(height, width, grain_px, channels, rng)
        weight = NOISE_SD * intensity * region.opacity[..., None]
        return change_of(image, region, _mirror(image[region.window] + weight * noise))

    return first_visible(image, attempt, least_coverage=0.3, least_levels=0.0)


def _grainy_noise(height: int, width: int, grain_px: int, channels: int, rng: np.random.Generator) -> Field:
    """Gaussian noise of SD 1 whose grains are about `grain_px` px wide: float32 (height, width, channels)."""
    if grain_px == 1:
        return rng.standard_normal((height, width, channels), dtype=np.float32)
    coarse = (height // grain_px + 2, width // grain_px + 2, channels)
    nodes = rng.standard_normal(coarse, dtype=np.float32)
    noise = np.stack([resize_field(nodes[..., i], height, width) for i in range(channels)], axis=-1)
    return noise / max(float(noise.std()), 1e-6)


def _mirror(values: Field) -> Field:
    """Return values folded back at 0 and at 255, as a mirror would."""
    mirrored: Field = 255 - np.abs(255 - np.abs(values))
    return mirrored
