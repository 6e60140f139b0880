"""The resolution that metrics of pixels are taken at: that of the frames, or less where these are large."""

import math

import numpy as np
import torch
import torch.nn.functional as F

_LARGEST_PX = 800  # to sort the pixels of larger frames would take longer than a trial


def reduce_masks(masks: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Some masks no larger than metrics can take; a pixel is 1 if any part of it is.

    Args:
        masks: of 0 and 1, uint8 (n, h, w).
        chosen: which of them, int (m,), at least one.

    Returns:
        uint8 (m, h', w').
    """
    factor = math.ceil(max(masks.shape[1:]) / _LARGEST_PX)
    return np.stack([_reduce(masks[index], factor) for index in chosen])


def resize_maps(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Maps at that resolution, bilinear: float32 (m, *shape) of float32 (m, h, w)."""
    resized = F.interpolate(torch.from_numpy(maps).unsqueeze(1), shape, mode="bilinear", align_corners=False)
    whole: np.ndarray = resized.squeeze(1).numpy()
    return whole


def _reduce(mask: np.ndarray, factor: int) -> np.ndarray:
    """Return a mask (h, w) of 0 and 1 in blocks of `factor` px: 1 if any part of a block is."""
    height, width = (math.ceil(side / factor) for side in mask.shape)
    padded = np.zeros((height * factor, width * factor), np.uint8)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    reduced: np.ndarray = padded.reshape(height, factor, width, factor).max(axis=(1, 3))
    return reduced
