"""The loss of AnomalyVFM (CVPR 2026): image focal + confidence-weighted mask focal and L1."""

import torch
import torch.nn.functional as F
from torch import Tensor

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


def anomaly_loss(
    image_logit: Tensor, mask_logit: Tensor, confidence: Tensor, labels: Tensor, masks: Tensor
) -> Tensor:
    """focal(image) + mean(c * (5 focal(mask) + |clip(sigmoid(mask), 0.1, 0.9) - target|) - 0.1 log c).

    c = 1 + exp(confidence) lets the map say where it is sure; the clip steadies training.

    Args:
        image_logit: (b,).
        mask_logit: (b, h, w).
        confidence: (b, h, w), raw.
        labels: (b,), 1 for an anomalous image.
        masks: (b, h, w) in 0-1.

    Returns:
        A scalar.
    """
    c = 1 + confidence.exp()
    distance = (mask_logit.sigmoid().clamp(0.1, 0.9) - masks).abs()
    per_pixel = c * (_MASK_FOCAL_WEIGHT * focal_loss(mask_logit, masks) + distance)
    return focal_loss(image_logit, labels).mean() + (per_pixel - _CONFIDENCE_WEIGHT * c.log()).mean()
