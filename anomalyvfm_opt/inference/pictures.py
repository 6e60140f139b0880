"""Maps as files: raw values, what is above the threshold, and heat over the image."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

_OPACITY = 0.65  # of the hottest
_YELLOW, _RED = np.array((255.0, 230.0, 0.0)), np.array((220.0, 0.0, 0.0))


@dataclass(frozen=True)
class HeatScale:
    """One scale for all images of a detector.

    Args:
        cold: up to here an image is left as it is: the lowest of the normal scenes' highest cells.
        warm: the middle of the scale: the threshold of pixels, or without one the highest cell of normal scenes.
    """

    cold: float
    warm: float

    def measure(self, heat: np.ndarray) -> np.ndarray:
        """Return how hot cells are: 0 up to `cold`, 0.5 at `warm`, at most 1."""
        step = max(self.warm - self.cold, 1e-3 * abs(self.warm), 1e-9)
        return np.clip((heat - self.cold) / (2 * step), 0, 1)


def paint_overlay(image: np.ndarray, heat: np.ndarray, scale: HeatScale) -> np.ndarray:
    """Lay heat over an image, from yellow to red.

    Args:
        image: uint8 (h, w, 3).
        heat: its map, float32 (h, w).
        scale: of the detector.

    Returns:
        uint8 (h, w, 3).
    """
    strength = scale.measure(heat)[..., None]  # (h, w, 1)
    colour = _YELLOW + (_RED - _YELLOW) * strength
    opacity = _OPACITY * np.sqrt(strength)
    painted: np.ndarray = (image * (1 - opacity) + colour * opacity).round().astype(np.uint8)
    return painted


def pack_picture(pixels: np.ndarray, kind: str) -> bytes:
    """Return pixels as a file.

    Args:
        pixels: uint8 (h, w, 3) or (h, w), or float32 (h, w) for a TIFF.
        kind: `PNG` or `TIFF`.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind)
    return buffer.getvalue()
