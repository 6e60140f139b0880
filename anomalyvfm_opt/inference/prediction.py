"""What a detector says of one image."""

from dataclasses import dataclass

import numpy as np

from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.evaluation.metric_frames import resize_maps


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a detector says of one image; scores and maps are raw, and a higher one is more anomalous.

    Args:
        image: its name: the path as it was given, or `image 0` for the first of those without one.
        score: by the detector's scorer.
        p_normal: how likely a normal scene has such a score or a higher one (conformal p-value, 0-1).
        is_anomalous: whether the score is above the threshold; None where there is no threshold.
        map: of the cells of the detector's coarse grid, float32 (gh, gw), padding left out.
        image_px: height and width of the image.
        content_px: that it takes in its frame.
        grid: rows and columns of the map of a whole frame.
        pixel_threshold: above it a pixel of a map is anomalous; None where there is no threshold.
        geometry: of the frame.
        notes: what is odd about its file, such as further pages: what a sentence says behind its name.
    """

    image: str
    score: float
    p_normal: float
    is_anomalous: bool | None
    map: np.ndarray
    image_px: tuple[int, int]
    content_px: tuple[int, int]
    grid: tuple[int, int]
    pixel_threshold: float | None
    geometry: Geometry
    notes: tuple[str, ...] = ()

    def map_in_frame(self) -> np.ndarray:
        """Return the map at the size that the image has in its frame: float32 (h, w), bilinear."""
        missing = [(0, whole - own) for whole, own in zip(self.grid, self.map.shape, strict=True)]
        padded = np.pad(self.map, missing, mode="edge")  # padding must not shine into the image
        height, width = self.content_px
        return resize_maps(padded[None], self.geometry.frame_px)[0, :height, :width]

    def map_at_image(self) -> np.ndarray:
        """Return the map at the image's own size: float32 (h, w), bilinear."""
        inside = np.ascontiguousarray(self.map_in_frame())
        return inside if inside.shape == self.image_px else resize_maps(inside[None], self.image_px)[0]

    def mask_at_image(self) -> np.ndarray | None:
        """Return which pixels are above the threshold: bool (h, w); None where there is no threshold."""
        if self.pixel_threshold is None:
            return None
        is_anomalous: np.ndarray = self.map_at_image() > self.pixel_threshold
        return is_anomalous

    def to_json(self) -> dict[str, object]:
        """Return the numbers, without the map."""
        return {
            "image": self.image,
            "score": self.score,
            "p_normal": self.p_normal,
            "is_anomalous": self.is_anomalous,
        }
