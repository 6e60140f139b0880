"""What a study will make and keep: tiles, synthetic anomalies, bytes of its arrays."""

from collections.abc import Sequence

import numpy as np

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry, measure_content
from anomalyvfm_opt.data.layout import ImageRecord
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.evaluation.exam_papers import count_frames
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.space import Space
from anomalyvfm_opt.synthesis.mixture import KINDS


def count_tiles(geometry: Geometry, records: Sequence[ImageRecord]) -> int:
    """Count what the images are cut into; of an image that is not tiled, one."""
    content_px = measure_content(geometry, [record.path for record in records])
    return len(Frames(np.empty((len(records), 0)), content_px, geometry).tiles)


def count_anomalies(spec: Spec, category: str) -> int:
    """Count synthetic anomalies in all pools that may be filled: of the space, and of references outside it."""
    space = spec.search.space
    high = space.synthesis_count.high
    pools = {(kind, intensity, high) for kind in _list_kinds(space) for intensity in space.synthesis_intensity}
    for name in spec.references:
        p = spec.reference(name, category)
        if p is not None:
            pools |= {(kind, p.synthesis_intensity, max(high, p.synthesis_count)) for kind in KINDS}
    return sum(size for _, _, size in pools)


def _list_kinds(space: Space) -> list[str]:
    """Return the kinds that a space may draw: all, but for those of a fixed share of nothing."""
    mix = space.synthesis_mix
    return [kind for kind in KINDS if isinstance(mix, str) or getattr(mix, kind) > 0]


def count_bytes(geometry: Geometry, split: Split, anomalies: int, exam_images: int) -> int:
    """Return images (3 bytes a pixel), masks (1), the two together (4): synthetic exam, anomalies to train on."""
    frame = geometry.frame_px[0] * geometry.frame_px[1]
    images = sum(len(records) for records in split.roles.values())
    labelled = len(split.search) + len(split.locked)
    exam = count_frames(len(split.held_out), exam_images)
    return frame * (3 * images + labelled + 4 * exam) + 4 * anomalies * geometry.tile_px**2
