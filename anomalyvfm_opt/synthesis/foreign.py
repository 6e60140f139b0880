"""Foreign textures for the exam, made by formula: stripes, checkers, noise, the image itself turned over."""

import math

import numpy as np

from anomalyvfm_opt.synthesis.change import Field, Pixels
from anomalyvfm_opt.synthesis.regions import smooth_noise

_LEAST_CONTRAST = 70.0  # levels of 255 between the two shades of a texture


def draw_foreign(image: Pixels, grey: bool, rng: np.random.Generator) -> Field:
    """Return a texture that this product does not have, float32 (h, w, 3) in 0-255; grey for a grey image."""
    form = int(rng.integers(4))
    if form == 3:
        return _turn_over(image, rng)
    height, width = image.shape[:2]
    weight = (_stripes, _checker, _cloud)[form](height, width, rng)[..., None]
    dark, light = _two_shades(grey, rng)
    return dark + weight * (light - dark)


def perlin_noise(height: int, width: int, cells: tuple[int, int], rng: np.random.Generator) -> Field:
    """Gradient noise, float32 (height, width), about -0.7 to 0.7 (Perlin 1985, with the fade curve of 2002).

    Args:
        height: px.
        width: px.
        cells: lattice cells along the height and along the width.
        rng: draws the gradients at the lattice nodes.
    """
    angle = rng.uniform(0, 2 * math.pi, (cells[0] + 1, cells[1] + 1)).astype(np.float32)
    slope_y, slope_x = np.sin(angle), np.cos(angle)
    y, row = np.modf(np.linspace(0, cells[0], height, endpoint=False, dtype=np.float32))
    x, column = np.modf(np.linspace(0, cells[1], width, endpoint=False, dtype=np.float32))
    noise = np.zeros((height, width), np.float32)
    for below in (0, 1):
        weight_y = _fade(y if below else 1 - y)[:, None]
        for right in (0, 1):
            node = np.ix_(row.astype(int) + below, column.astype(int) + right)
            ramp = slope_y[node] * (y - below)[:, None] + slope_x[node] * (x - right)[None, :]
            noise += weight_y * _fade(x if right else 1 - x)[None, :] * ramp
    return noise


def _fade(t: Field) -> Field:
    return t * t * t * (t * (t * 6 - 15) + 10)


def _stripes(height: int, width: int, rng: np.random.Generator) -> Field:
    """Straight bands at any angle, with soft edges: float32 (height, width) in 0-1."""
    period_px = rng.uniform(0.02, 0.12) * min(height, width)
    angle = rng.uniform(0, math.pi)
    y, x = np.ogrid[:height, :width]
    across_px = x * math.cos(angle) + y * math.sin(angle)
    phase = across_px * (2 * math.pi / period_px) + rng.uniform(0, 2 * math.pi)
    bands: Field = np.clip(0.5 + 1.5 * np.sin(phase), 0, 1).astype(np.float32)
    return bands


def _checker(height: int, width: int, rng: np.random.Generator) -> Field:
    """Squares, turned by any angle: float32 (height, width), 0 or 1."""
    side_px = rng.uniform(0.015, 0.08) * min(height, width)
    angle = rng.uniform(0, math.pi / 2)
    y, x = np.ogrid[:height, :width]
    along = np.floor((x * math.cos(angle) + y * math.sin(angle)) / side_px)
    across = np.floor((y * math.cos(angle) - x * math.sin(angle)) / side_px)
    return ((along + across) % 2).astype(np.float32)


def _cloud(height: int, width: int, rng: np.random.Generator) -> Field:
    """Smooth noise of three scales: float32 (height, width) in 0-1."""
    cells = int(rng.integers(4, 16))
    scales = [smooth_noise(height, width, cells * 2**i, rng) / 2**i for i in range(3)]
    cloud: Field = np.clip(0.5 + 0.35 * np.sum(scales, axis=0), 0, 1)
    return cloud


def _turn_over(image: Pixels, rng: np.random.Generator) -> Field:
    """Return the image itself, point-mirrored, shifted, with its channels permuted and its shades inverted."""
    height, width = image.shape[:2]
    shift = (int(rng.integers(height)), int(rng.integers(width)))
    turned = np.roll(image[::-1, ::-1], shift, axis=(0, 1))[..., rng.permutation(3)]
    inverted: Field = 255 - turned.astype(np.float32)
    return inverted


def _two_shades(grey: bool, rng: np.random.Generator) -> tuple[Field, Field]:
    """Draw two colours float32 (3,), at least `_LEAST_CONTRAST` levels apart in every channel."""
    channels = 1 if grey else 3
    contrast = rng.uniform(_LEAST_CONTRAST, 255, channels)
    dark = rng.uniform(0, 255 - contrast)
    light = dark + contrast
    pair = np.stack([dark, light]) if rng.random() < 0.5 else np.stack([light, dark])
    first, second = np.broadcast_to(pair, (2, 3)).astype(np.float32)
    return first, second
