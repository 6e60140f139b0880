"""The loss of AnomalyVFM (CVPR 2026): image focal + confidence-weighted mask focal and L1."""

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyvfm_opt.model.heads import HeadOutput

_FOCAL_GAMMA = 2.0
_MASK_FOCAL_WEIGHT = 5.0
_CONFIDENCE_WEIGHT = 0.1


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary focal loss without reduction: -(1 - p_t)^2 log p_t (Lin et al. 2017).

    Args:
        logits: any shape.
        targets: the same shape, 0 or 1.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (1 - torch.exp(-cross_entropy)).pow(_FOCAL_GAMMA) * cross_entropy


def anomaly_loss(heads: HeadOutput, labels: Tensor, masks: Tensor) -> Tensor:
    """focal(image) + mean(c * (5 focal(mask) + |clip(sigmoid(mask), 0.1, 0.9) - target|) - 0.1 log c).

    c = 1 + exp(confidence) lets the map say where it is sure; the clip steadies training.

    Args:
        heads: what they say of b images, at (h, w) cells.
        labels: (b,), 1 for an anomalous image.
        masks: (b, h, w) in 0-1.

    Returns:
        A scalar.
    """
    c = 1 + heads.confidence.exp()
    distance = (heads.mask_logit.sigmoid().clamp(0.1, 0.9) - masks).abs()
    per_pixel = c * (_MASK_FOCAL_WEIGHT * focal_loss(heads.mask_logit, masks) + distance)
    return focal_loss(heads.image_logit, labels).mean() + (per_pixel - _CONFIDENCE_WEIGHT * c.log()).mean()
