"""Where a synthetic anomaly lies, and how it is shaped: rectangles, discs, blobs and strokes.

Lengths are given for an image whose shorter side is `REFERENCE_PX`, and scale with the image.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

REFERENCE_PX = 518  # AnomalyVFM v1.2, whose sizes are kept, worked on 518 x 518 images

Shape = NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """A part of an image.

    `top` and `left` place the window (px); `opacity` is float32 (a, b) and says how much of the
    anomaly shows at each pixel of the window: 0 outside the shape, 1 inside, between them at a soft edge.
    """

    top: int
    left: int
    opacity: NDArray[np.float32]

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image that the region covers."""
        height, width = self.opacity.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def inside(self) -> Shape:
        """The pixels of the window that belong to the shape: bool (a, b)."""
        return self.opacity > 0


def draw_length(low: float, high: float, image_px: tuple[int, int], rng: np.random.Generator) -> int:
    """Return a length in px, log-uniform: every order of magnitude is as likely.

    Args:
        low: the smallest length at `REFERENCE_PX`.
        high: the largest length at `REFERENCE_PX`.
        image_px: height and width of the image.
        rng: the source of randomness.
    """
    shorter = min(image_px)
    drawn = math.exp(rng.uniform(math.log(low), math.log(high))) * shorter / REFERENCE_PX
    return min(max(1, round(drawn)), shorter)


def draw_patch(regular_px: tuple[float, float], image_px: tuple[int, int], rng: np.random.Generator) -> Region:
    """Return a patch with soft edges somewhere in the image: as often a rectangle as a blob.

    A blob's window may be larger than a rectangle, because it fills no more than half of it.

    Args:
        regular_px: smallest and largest side of a rectangle at `REFERENCE_PX`.
        image_px: height and width of the image.
        rng: the source of randomness.
    """
    low, high = regular_px
    is_blob = rng.random() < 0.5
    if is_blob:
        high *= 1.4
    sides = (draw_length(low, high, image_px, rng), draw_length(low, high, image_px, rng))
    height, width = (max(4, side) for side in sides)
    shape = draw_blob(height, width, rng) if is_blob else np.ones((height, width), bool)
    softness_px = rng.uniform(0.0, 0.12) * min(shape.shape)
    return place(shape, image_px, softness_px, rng)


def draw_disc(radius: int) -> Shape:
    """Return a filled circle: bool (2 * radius + 1, 2 * radius + 1)."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc: Shape = x * x + y * y <= (radius + 0.3) ** 2
    return disc


def draw_blob(height: int, width: int, rng: np.random.Generator) -> Shape:
    """Return one irregular, connected shape within (height, width) px: smooth noise on a hill, cut at a height.

    The cut is a quantile, so the blob is never empty.
    """
    cells = int(rng.integers(2, 5))
    noise = smooth_noise(height, width, cells, rng) + 0.5 * smooth_noise(height, width, 2 * cells, rng)
    y = np.linspace(-1, 1, height)[:, None]
    x = np.linspace(-1, 1, width)[None, :]
    hill = noise - rng.uniform(1.0, 3.0) * (x * x + y * y)
    shape = hill >= np.quantile(hill, 1 - rng.uniform(0.25, 0.55))
    return _largest_part(shape)


def smooth_noise(height: int, width: int, cells: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Gaussian noise on a coarse grid of (cells + 1)^2 nodes, interpolated to float32 (height, width)."""
    nodes = rng.standard_normal((cells + 1, cells + 1), dtype=np.float32)
    return resize_field(nodes, height, width)


def resize_field(field: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Return a float32 field (a, b), interpolated bicubically to (height, width)."""
    return np.asarray(Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC), np.float32)


def draw_stroke(
    length_px: float,
    thickness_px: int,
    segments: int,
    branches: int,
    image_px: tuple[int, int],
    rng: np.random.Generator,
) -> Region:
    """Draw a scratch or crack: a polyline that wanders, with thinner branches; one segment is a straight line.

    It starts inside the image, and what leaves the image is cut off.
    """
    height, width = image_px
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    start = (rng.uniform(0.05, 0.95) * (width - 1), rng.uniform(0.05, 0.95) * (height - 1))
    heading = rng.uniform(0, 2 * math.pi)
    trunk = _wander(start, heading, length_px, segments, rng)
    draw.line(trunk, fill=1, width=thickness_px, joint="curve")
    for _ in range(branches):
        root = trunk[int(rng.integers(len(trunk)))]
        turned = heading + rng.choice((-1, 1)) * rng.uniform(0.4, 1.3)
        branch = _wander(root, turned, length_px * rng.uniform(0.2, 0.6), max(1, segments // 2), rng)
        draw.line(branch, fill=1, width=max(1, thickness_px // 2), joint="curve")
    left, top, right, bottom = canvas.getbbox() or (0, 0, width, height)
    return Region(top, left, np.asarray(canvas, np.float32)[top:bottom, left:right])


def place(shape: Shape, image_px: tuple[int, int], softness_px: float, rng: np.random.Generator) -> Region:
    """Place the shape (cut to the image's size if need be) at a uniformly random place inside the image."""
    shape = shape[: image_px[0], : image_px[1]]
    top = int(rng.integers(image_px[0] - shape.shape[0] + 1))
    left = int(rng.integers(image_px[1] - shape.shape[1] + 1))
    return Region(top, left, soften(shape, softness_px))


def soften(shape: Shape, width_px: float) -> NDArray[np.float32]:
    """Opacity that rises from the edge of a shape to 1 over `width_px` px; nothing outside the shape.

    A shape too thin for that rises to 1 at its core.
    """
    if width_px < 1:
        return shape.astype(np.float32)
    depth = ndimage.distance_transform_edt(np.pad(shape, 1))[1:-1, 1:-1]
    opacity: NDArray[np.float32] = np.clip(depth / min(width_px + 1, depth.max()), 0, 1).astype(np.float32)
    return opacity


def _wander(
    start: tuple[float, float], heading: float, length_px: float, segments: int, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Corners of a polyline whose heading (rad) does a random walk."""
    headings = heading + np.cumsum(np.append(0.0, rng.normal(0, 0.5, segments - 1)))
    steps = rng.uniform(0.5, 1.5, segments)
    steps *= max(length_px, 2.0) / steps.sum()
    x = start[0] + np.cumsum(np.append(0.0, steps * np.cos(headings)))
    y = start[1] + np.cumsum(np.append(0.0, steps * np.sin(headings)))
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _largest_part(shape: Shape) -> Shape:
    """Return the largest connected part, cut to its bounding box."""
    parts, count = ndimage.label(shape)
    if count > 1:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        shape = parts == sizes.argmax()
    rows, columns = (np.flatnonzero(shape.any(axis)) for axis in (1, 0))
    return shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
