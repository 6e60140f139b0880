"""Defects of the demo's test images: warp, crack, smear and stain.

They share no generator with the training's synthetic anomalies (noise, shapes, patches of other images) nor with
the search's exam (Perlin blends, CutPaste, scars): else a gain on the demo would say nothing.
"""

import math
from collections.abc import Callable

import numpy as np

Defect = Callable[[np.ndarray, float, np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""From an image, float32 (h, w) in 0-255, to the same with a defect and its opacity, float32 (h, w) in 0-1."""

_MARKED_OPACITY = 0.35
_LEAST_LEVELS, _MAX_DRAWS = 6.0, 8


def add_defect(
    image: np.ndarray, kind: str, strength: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Put one defect into an image.

    Args:
        image: float32 (h, w) in 0-255.
        kind: one of `DEFECTS`.
        strength: about 1 on a smooth surface, more on a rough one, which hides defects.
        rng: draws place, size and degree.

    Returns:
        The image with the defect, float32 (h, w), and its mask, bool (h, w), which marks at least one pixel.
    """
    best_levels, best = -1.0, (image, np.zeros(image.shape, dtype=bool))
    for _ in range(_MAX_DRAWS):  # to bend a flat place, say, changes nothing
        raw, opacity = DEFECTS[kind](image, strength, rng)
        changed = np.clip(raw, 0, 255).astype(np.float32)
        mask = opacity >= min(_MARKED_OPACITY, float(opacity.max()))
        levels = float(np.abs(changed - image)[mask].mean())
        if levels > best_levels:
            best_levels, best = levels, (changed, mask)
        if levels >= _LEAST_LEVELS * strength:
            break
    return best


def warp(image: np.ndarray, strength: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a swirl or a pinch: the surface is bent, its grey values stay."""
    size = min(image.shape)
    radius = size * math.sqrt(strength) * rng.uniform(0.12, 0.18)
    y, x = _offsets(image, rng)
    distance = np.hypot(y, x)
    fade = np.clip(1 - distance / radius, 0, 1) ** 2 * (distance < radius)
    turn = rng.choice([-1, 1]) * strength * rng.uniform(1.2, 2.4) * fade
    zoom = 1 - rng.uniform(0.0, 0.6) * fade
    rows, columns = np.indices(image.shape, dtype=np.float32)
    to_row = rows - y + zoom * (np.cos(turn) * y + np.sin(turn) * x)
    to_column = columns - x + zoom * (np.cos(turn) * x - np.sin(turn) * y)
    return _sample(image, to_row, to_column), np.sqrt(fade)


def crack(image: np.ndarray, strength: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a hairline that wanders and may fork once, darker or lighter than what is around, with a soft edge."""
    height, width = image.shape
    size = min(image.shape)
    hits = np.zeros(image.shape, np.float32)
    start, angle = rng.uniform(0.25, 0.75, 2) * image.shape, rng.uniform(0, 2 * np.pi)
    length = int(size * math.sqrt(strength) * rng.uniform(0.25, 0.5))
    walk = _walk(start, angle, length, rng)
    paths = [walk]
    if rng.random() < 0.5:
        fork = walk[rng.integers(length // 4, length // 2)]
        paths.append(_walk(fork, angle + rng.choice([-1, 1]) * rng.uniform(0.4, 0.9), length // 2, rng))
    for path in paths:
        rows, columns = np.round(path).astype(int).T
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        hits[rows[inside], columns[inside]] = 1
    line = _blur(hits, size / 128 * strength * rng.uniform(0.6, 1.0))
    opacity = np.clip(line / line.max(), 0, 1)
    return _tone(image, min(0.95, strength * rng.uniform(0.25, 0.55)) * opacity, rng), opacity


def smear(image: np.ndarray, strength: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a wiped ellipse: the texture is averaged along one direction."""
    size = min(image.shape)
    opacity = _ellipse(image, rng, size * math.sqrt(strength) * rng.uniform(0.10, 0.16))
    angle, reach = rng.uniform(0, np.pi), size * strength * rng.uniform(0.02, 0.05)
    rows, columns = np.indices(image.shape, dtype=np.float32)
    steps = np.linspace(-reach, reach, 9)
    shifted = [_sample(image, rows + s * np.sin(angle), columns + s * np.cos(angle)) for s in steps]
    return image + opacity * (np.mean(shifted, axis=0) - image), opacity


def stain(image: np.ndarray, strength: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a damp patch with an uneven rim, a little darker or lighter than its surroundings."""
    size = min(image.shape)
    base = _ellipse(image, rng, size * math.sqrt(strength) * rng.uniform(0.11, 0.17))
    uneven = _blur(rng.standard_normal(image.shape).astype(np.float32), size * 0.04)
    opacity = np.clip(base * (1 + 0.35 * uneven / uneven.std()), 0, 1)
    return _tone(image, min(0.9, strength * rng.uniform(0.12, 0.35)) * opacity, rng), opacity


DEFECTS: dict[str, Defect] = {"warp": warp, "crack": crack, "smear": smear, "stain": stain}


def _offsets(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's offset in rows and in columns from a random centre, each float (h, w)."""
    centre = rng.uniform(0.2, 0.8, 2) * image.shape
    rows, columns = np.indices(image.shape, dtype=np.float32)
    return rows - centre[0], columns - centre[1]


def _ellipse(image: np.ndarray, rng: np.random.Generator, radius: float) -> np.ndarray:
    """Return a random ellipse with a soft rim: opacity, float32 (h, w)."""
    y, x = _offsets(image, rng)
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 2.0)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    distance = np.hypot(along / stretch, across * stretch) / radius
    opacity: np.ndarray = np.clip((1.15 - distance) / 0.3, 0, 1).astype(np.float32)
    return opacity


def _tone(image: np.ndarray, share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image drawn towards black or white by a share of the way, (h, w) in 0-1."""
    toned: np.ndarray = image + share * (rng.choice([0.0, 255.0]) - image)
    return toned


def _walk(start: np.ndarray, angle: float, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Return a path of unit steps whose direction drifts: float (steps, 2), rows and columns."""
    angles = angle + np.cumsum(rng.normal(0, 0.18, steps))
    path: np.ndarray = start + np.cumsum(np.stack([np.sin(angles), np.cos(angles)], axis=1), axis=0)
    return path


def _blur(field: np.ndarray, radius_px: float) -> np.ndarray:
    """Gaussian blur by two passes, with zeros outside of the field."""
    reach = int(np.ceil(3 * radius_px))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius_px) ** 2)
    padded = np.pad(field, reach)
    for axis in (0, 1):
        padded = np.apply_along_axis(np.convolve, axis, padded, weights / weights.sum(), mode="same")
    return padded[reach:-reach, reach:-reach].astype(np.float32)


def _sample(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Bilinear values at fractional places; outside of the image, those at its edge."""
    rows = np.clip(rows, 0, image.shape[0] - 1.001)
    columns = np.clip(columns, 0, image.shape[1] - 1.001)
    top, left = rows.astype(int), columns.astype(int)
    down, right = rows - top, columns - left
    upper = image[top, left] * (1 - right) + image[top, left + 1] * right
    lower = image[top + 1, left] * (1 - right) + image[top + 1, left + 1] * right
    values: np.ndarray = upper * (1 - down) + lower * down
    return values
