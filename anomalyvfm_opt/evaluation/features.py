"""What the scorers read of a set of tiles, batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.errors import DivergedError
from anomalyvfm_opt.model.detector import Detector, Output
from anomalyvfm_opt.model.memory import ShrinkingBatch


@dataclass(frozen=True)
class HeadFeatures:
    """What scorers read of the heads' output on b tiles."""

    image_logit: Tensor  # (b,)
    mask_probability: Tensor  # (b, h, w), smoothed with a 5x5 mean


@dataclass(frozen=True)
class Features:
    """One pass of a detector over b tiles; float32, on the detector's device. Without heads, those are None."""

    patches: Tensor  # (b, gh, gw, c)
    pooled: Tensor  # (b, d)
    heads: HeadFeatures | None = None

    def require_heads(self) -> HeadFeatures:
        """Return what the heads say.

        Raises:
            ValueError: they were not asked.
        """
        if self.heads is None:
            raise ValueError("these features were extracted without the heads")
        return self.heads

    def list_tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name."""
        heads = vars(self.heads) if self.heads else {}
        return {"patches": self.patches, "pooled": self.pooled, **heads}


@dataclass(frozen=True)
class TileFeatures:
    """Features of all tiles of frames, in order, in batches that are computed when they are asked for, once."""

    frames: Frames
    batches: Iterator[Features]


def extract_features(
    detector: Detector, frames: Frames, batch: ShrinkingBatch, with_heads: bool = True
) -> TileFeatures:
    """Run a detector over all tiles of frames in eval mode, with or without its heads.

    Batches are handed on one by one: together, the patches of large images would not fit in memory.

    Args:
        detector: adapted or frozen.
        frames: whose tiles are read.
        batch: how many tiles at once; made smaller where they do not fit.
        with_heads: whether the heads' outputs are wanted.

    Raises:
        DivergedError: (from the batches) an output that is not finite.
        DoesNotFitError: (from the batches) one tile at a time is too much for the device's memory.
    """
    return TileFeatures(frames, _iterate(detector, frames, batch, with_heads))


def _iterate(detector: Detector, frames: Frames, batch: ShrinkingBatch, with_heads: bool) -> Iterator[Features]:
    def extract(size: int) -> Features:
        return _extract(detector, frames.read_tiles(start, start + size), with_heads)

    was_training, is_ready = detector.training, not any(module.training for module in detector.modules())
    if not is_ready:  # else a tenth of the time of a single image goes into it
        detector.eval()
    try:
        start = 0
        while start < len(frames.tiles):
            features = batch.run(extract)
            start += len(features.pooled)
            for name, values in features.list_tensors().items():
                if not values.isfinite().all():
                    raise DivergedError(f"{name} of {len(values)} tiles holds values that are not finite")
            yield features
    finally:
        if not is_ready:
            detector.train(was_training)


@torch.no_grad()
def _extract(detector: Detector, pixels: np.ndarray, with_heads: bool) -> Features:
    """Compute the features of uint8 (b, h, w, 3)."""
    tiles = torch.from_numpy(pixels)
    if detector.backbone.device.type == "cuda":
        tiles = tiles.pin_memory()  # else the copy to the device is not one that goes on beside us
    return read_features(detector(tiles, with_heads))


def read_features(output: Output) -> Features:
    """Return what scorers read of a detector's output."""
    heads = None
    if output.heads is not None:
        probability = output.heads.mask_logit.sigmoid().unsqueeze(1)
        smooth = F.avg_pool2d(probability, 5, 1, 2, count_include_pad=False)
        heads = HeadFeatures(output.heads.image_logit, smooth.squeeze(1))
    return Features(
        patches=output.patches.permute(0, 2, 3, 1).contiguous(),
        pooled=output.pooled,
        heads=heads,
    )
