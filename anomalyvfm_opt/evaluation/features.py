"""What the scorers read, collected over a set of images in one pass."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyvfm_opt.errors import DivergedError
from anomalyvfm_opt.model.detector import Detector


@dataclass(frozen=True)
class Features:
    """One pass of a detector over n images; float32, on the detector's device."""

    patches: Tensor  # (n, gh * gw, c), each averaged with its neighbours
    pooled: Tensor  # (n, d)
    grid: tuple[int, int]  # gh, gw of the patches
    image_logit: Tensor | None  # (n,)
    mask_probability: Tensor | None  # (n, h, w), smoothed with a 5x5 mean


@torch.no_grad()
def extract_features(detector: Detector, images: np.ndarray, batch_size: int, with_heads: bool = True) -> Features:
    """Run a detector over uint8 images (n, h, w, 3) in eval mode, with or without its heads.

    Raises:
        DivergedError: an output that is not finite.
    """
    was_training = detector.training
    detector.eval()
    starts = range(0, len(images), batch_size)
    parts = [_extract_batch(detector, images[i : i + batch_size], with_heads) for i in starts]
    detector.train(was_training)

    def join(values: list[Tensor | None]) -> Tensor | None:
        present = [value for value in values if value is not None]
        return torch.cat(present) if present else None

    features = Features(
        patches=torch.cat([part.patches for part in parts]),
        pooled=torch.cat([part.pooled for part in parts]),
        grid=parts[0].grid,
        image_logit=join([part.image_logit for part in parts]),
        mask_probability=join([part.mask_probability for part in parts]),
    )
    for name, values in vars(features).items():
        if isinstance(values, Tensor) and not values.isfinite().all():
            raise DivergedError(f"{name} of {len(images)} images holds values that are not finite")
    return features


def _extract_batch(detector: Detector, images: np.ndarray, with_heads: bool) -> Features:
    output = detector(torch.tensor(images), with_heads)  # a copy: the images may be a read-only memory map
    local = F.avg_pool2d(output.patches, 3, stride=1, padding=1, count_include_pad=False)
    probability = None
    if output.mask_logit is not None:
        smooth = F.avg_pool2d(output.mask_logit.sigmoid().unsqueeze(1), 5, 1, 2, count_include_pad=False)
        probability = smooth.squeeze(1)
    return Features(
        patches=local.flatten(2).transpose(1, 2).contiguous(),  # (b, gh * gw, c)
        pooled=output.pooled,
        grid=(local.shape[2], local.shape[3]),
        image_logit=output.image_logit,
        mask_probability=probability,
    )
