"""What an image costs with a finished detector, as somebody has it who uses the detector."""

import time
from contextlib import nullcontext
from statistics import median

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.evaluation.features import extract_features
from anomalyvfm_opt.evaluation.scorer_bank import ScorerBank
from anomalyvfm_opt.evaluation.scorers import list_parts
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.model.memory import ShrinkingBatch

_IMAGES = 16
_PASSES = 3  # after one that warms up


def measure_pace(
    detector: Detector, bank: ScorerBank, scorer: str, frames: Frames, batch: ShrinkingBatch
) -> float:
    """Return the seconds that one scorer takes for an image, from its frame to its score; decoding is not in it.

    Only what this scorer needs is computed: all blocks, with the adapter merged into the network's weights, and
    the heads where the scorer reads them; the scales of an ensemble are there already. The median of a few passes.

    Args:
        detector: trained or frozen; it is not changed.
        bank: its fitted scorers.
        scorer: whose time it is; the detector has it.
        frames: images to look at, of which the first few are taken.
        batch: how many tiles at once.
    """
    parts = list_parts(scorer, has_heads=detector.decoder is not None)
    names, needs_heads = {part.name for part in parts}, any(part.needs_heads for part in parts)
    few = frames.choose(slice(_IMAGES))

    def take_s() -> float:
        started = time.perf_counter()
        bank.score(extract_features(detector, few, batch, needs_heads), names)
        return time.perf_counter() - started

    merged = detector.adapter.merged() if detector.adapter else nullcontext()
    with detector.seeing_pixels(), merged:
        take_s()
        return median(take_s() for _ in range(_PASSES)) / len(few)
