"""Maps in half precision: a raw value less the category's threshold, by a power of two.

float16 has 11 bits for a value's digits and ends at 65,504. Around 30, where distances of a large network lie, its
steps are 1/64, and what is close to the threshold falls together. So the threshold is subtracted: steps are finest
where it is decided, and a map is above 0 where its pixel is called anomalous. Division by a power of two changes
no digit. Both numbers are fixed for a category before its first map is made, so the order of its values is kept
across both of its sets: what is measured by ranks, or by thresholds that run over all values (AU-PRO), stays as it
is, up to what half precision rounds to the same value. See docs/decisions.
"""

import math
from dataclasses import dataclass

import numpy as np

from anomalyvfm_opt.errors import BadDataError

_LEAST_EXPONENT = -10  # so that maps of almost nothing but zeros do not overflow with the first defect


@dataclass(frozen=True)
class HalfScale:
    """How raw values of a category are written: (raw - zero) / unit.

    Args:
        zero: the threshold of pixels.
        unit: a power of two.
    """

    zero: float
    unit: float

    @classmethod
    def of(cls, pixel_threshold: float, peaks: np.ndarray) -> "HalfScale":
        """Return the scale of a detector.

        Args:
            pixel_threshold: above it a pixel is anomalous.
            peaks: highest cell of the maps of held-out normal scenes, float64 (n,).

        The unit is the power of two at or above the largest of the peaks' absolute values, and at least 2^-10.
        """
        largest = float(np.abs(peaks).max())
        exponent = math.ceil(math.log2(largest)) if largest > 0 else _LEAST_EXPONENT
        return cls(float(np.float32(pixel_threshold)), 2.0 ** max(exponent, _LEAST_EXPONENT))

    def convert(self, heat: np.ndarray, name: str) -> np.ndarray:
        """Return a map in half precision.

        Args:
            heat: raw values, float32 (h, w).
            name: of the image, for messages.

        Returns:
            float16 (h, w).

        Raises:
            BadDataError: a value is not finite, or beyond half precision.
        """
        with np.errstate(over="ignore"):
            half = ((heat - np.float32(self.zero)) / np.float32(self.unit)).astype(np.float16)
        if not np.isfinite(half).all():
            worst = float(heat.flat[np.argmin(np.isfinite(half))])
            raise BadDataError(
                f"the map of {name} has the value {worst:g}, which half precision (float16) cannot hold:"
                f" ({worst:g} - {self.zero:g}) / {self.unit:g} is beyond 65504",
                "this detector's maps cannot be submitted: choose another scorer or trial",
            )
        return half
