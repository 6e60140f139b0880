"""`memory.safetensors`: what the scorers remember of normal images, and the scores of held-out normal scenes."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.evaluation.scorer_bank import CalibratedBank, ScorerBank
from anomalyvfm_opt.evaluation.scorers import MAHALANOBIS, SCORERS, Gaussian, PatchMemory
from anomalyvfm_opt.inference.card import Scale, ScoringCard
from anomalyvfm_opt.inference.folder import AGAIN
from anomalyvfm_opt.inference.tensors import check_shapes, pack_tensors, unpack_tensors
from anomalyvfm_opt.inference.thresholds import NormalScenes

PATCH_KNN = "patch_knn"
_PATCHES, _CENTER, _PRECISION = (
    f"{PATCH_KNN}.patches",
    f"{MAHALANOBIS.name}.center",
    f"{MAHALANOBIS.name}.precision",
)
_SCORES, _PEAKS = "normal.scores", "normal.peaks"


def pack_memory(bank: ScorerBank, normal: NormalScenes) -> bytes:
    """Pack what a bank's scorers were fitted to, and the held-out normal scenes."""
    gaussian, patches = bank.gaussian, bank.fitted[PATCH_KNN].patches
    tensors = {
        _PATCHES: patches,
        _CENTER: gaussian.center,
        _PRECISION: gaussian.precision,
        _SCORES: torch.from_numpy(normal.scores),
        _PEAKS: torch.from_numpy(normal.peaks),
    }
    return pack_tensors(tensors)


def describe_scoring(calibrated: CalibratedBank, scorer: str, map_scorer: str) -> ScoringCard:
    """Return what the card says of a bank beside its tensors."""
    gaussian = calibrated.bank.gaussian
    return ScoringCard.model_validate(
        {
            "scorer": scorer,
            "map_scorer": map_scorer,
            "scales": {
                name: Scale(location=location, scale=calibrated.scale[name])
                for name, location in calibrated.location.items()
            },
            "gaussian_images": gaussian.images,
            "gaussian_shrinkage": gaussian.shrinkage,
        }
    )


def unpack_memory(
    content: bytes, scoring: ScoringCard, sizes: tuple[int, int], device: torch.device, origin: Path
) -> tuple[CalibratedBank, NormalScenes]:
    """Return the calibrated bank and the held-out normal scenes of a file.

    Args:
        content: of the file.
        scoring: what the card says of it.
        sizes: channels of a patch, and of the pooled feature.
        device: that scores are computed on.
        origin: name of the file, for messages.

    Raises:
        UsageError: it is damaged, or is of another detector.
    """
    tensors = unpack_tensors(content, origin)
    channels, pooled = sizes
    patches, scenes = (_count(tensors, name) for name in (_PATCHES, _SCORES))
    wanted = {
        _PATCHES: torch.empty(patches, channels, device="meta"),
        _CENTER: torch.empty(pooled, dtype=torch.float64, device="meta"),
        _PRECISION: torch.empty(pooled, pooled, dtype=torch.float64, device="meta"),
        _SCORES: torch.empty(scenes, dtype=torch.float64, device="meta"),
        _PEAKS: torch.empty(scenes, dtype=torch.float64, device="meta"),
    }
    check_shapes(tensors, wanted, origin)
    if not patches or not scenes:
        raise UsageError(f"{origin} remembers nothing", AGAIN)
    gaussian = Gaussian(
        center=tensors[_CENTER].to(device),
        precision=tensors[_PRECISION].to(device),
        images=scoring.gaussian_images,
        shrinkage=scoring.gaussian_shrinkage,
    )
    known: dict[str, Any] = {
        PATCH_KNN: PatchMemory.of(tensors[_PATCHES].to(device)),
        MAHALANOBIS.name: gaussian,
    }
    bank = ScorerBank({scorer.name: known.get(scorer.name) for scorer in SCORERS})
    calibrated = CalibratedBank(
        bank=bank,
        location={name: one.location for name, one in scoring.scales.items()},
        scale={name: one.scale for name, one in scoring.scales.items()},
    )
    return calibrated, NormalScenes(tensors[_SCORES].numpy(), tensors[_PEAKS].numpy())


def _count(tensors: dict[str, Tensor], name: str) -> int:
    return len(tensors[name]) if name in tensors and tensors[name].dim() else 0
