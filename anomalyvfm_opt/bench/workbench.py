"""What the trials of one study share at one image size: images, anomalies, exams, backbone and linter."""

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import torch

from anomalyvfm_opt.bench.lock import Lock
from anomalyvfm_opt.bench.prefixes import Prefixes
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import load_images
from anomalyvfm_opt.data.geometry import Geometry, choose_geometry
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.evaluation.coreset import choose_coreset
from anomalyvfm_opt.evaluation.exam_papers import set_exams, set_locked
from anomalyvfm_opt.evaluation.features import extract_features
from anomalyvfm_opt.evaluation.linter.lint import Linter
from anomalyvfm_opt.evaluation.stitching import check_grid
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.model.memory import TrialMemory
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.synthesis.pools import PoolStore
from anomalyvfm_opt.training.resume import Checkpoints, NoCheckpoints

_SCORING_BATCH = 32
_CORESET_SEED = 20262  # one choice of patches for all trials


class Workbench:
    """What the trials of one study share. Nothing of it is a trial's own: that is a function of its request.

    Args:
        spec: of the study.
        split: its images, as found in the data folder of this host.
        content: the hash that identifies them on any host.
        backbone: in memory, used by one trial at a time.
        arrays: the host's store of decoded images and of synthetic anomalies.
        checkpoints: from which a trial that was interrupted goes on.
        tell: told what is made, which may take minutes where the host's store has nothing of it yet.

    Attributes:
        normal: the images to train on.
        fit: those of them that scorers are fitted on, from all over the series.
        pools: synthetic anomalies that are made of them.
        exams: that every trial sits.
        lock: the locked images, for confirmations.
        remembered: which patches of `fit` the nearest-patch scorer keeps, int64 (m,).
        prefixes: what frozen blocks make of the images, kept by the host.
        linter: checks every trial.
    """

    def __init__(
        self,
        spec: Spec,
        split: Split,
        content: str,
        backbone: Backbone,
        arrays: ArrayStore,
        checkpoints: Checkpoints | None = None,
        tell: Callable[[str], None] = lambda _what: None,
    ) -> None:
        self.spec: Final = spec
        self.split_sha256: Final = content
        self.backbone: Final = backbone
        self.checkpoints: Final = checkpoints or NoCheckpoints()
        geometry = choose_geometry(spec.data, split.fit)
        check_tiles(backbone, geometry)
        tell(f"reading {len(split.fit)} images to train on")
        self.normal: Final = load_images(arrays, split.fit, geometry)
        n_fit = min(len(self.normal), spec.scoring.fit_images)
        self.fit: Final = self.normal.choose(np.linspace(0, len(self.normal) - 1, n_fit).round().astype(int))
        self.pools: Final = PoolStore(arrays, self.normal, content, spec.search.space.synthesis_count.high)
        largest = choose_geometry(spec.at_size(max(spec.image_sizes_px)).data, split.fit)
        tell("setting the exams")
        self.exams: Final = set_exams(arrays, split, geometry, spec.scoring.exam_images, drawn_in=largest)
        self.lock: Final = Lock(partial(set_locked, arrays, split, geometry))
        self.prefixes: Final = Prefixes(arrays)
        tell("choosing the patches to remember")
        frozen = extract_features(self.freeze(), self.fit, self.begin_memory().scoring_batch, with_heads=False)
        self.remembered: Final = choose_coreset(frozen, spec.scoring.memory_patches, _CORESET_SEED)
        tell("preparing the checks of each trial")
        self.linter: Final = Linter(self.freeze(), self.fit, self.exams.deciding, _SCORING_BATCH)

    def freeze(self) -> Detector:
        """Return the detector of the frozen network, all of which is prefix."""
        return Detector(self.backbone, prefix=self.prefixes.open(self.backbone, self.backbone.n_blocks))

    def begin_memory(self) -> TrialMemory:
        """Return the memory of a trial that begins now."""
        return TrialMemory.begin(self.spec.training.batch_size, _SCORING_BATCH, self.backbone.device)


def check_tiles(backbone: Backbone, geometry: Geometry) -> None:
    """See that the maps of a backbone's tiles can be put together.

    Raises:
        UsageError: the tiles' sizes do not fit its maps.
    """
    if geometry.is_tiled:
        blank = torch.zeros(1, geometry.tile_px, geometry.tile_px, 3, dtype=torch.uint8)
        with torch.no_grad():
            features = backbone.features(backbone.normalise(blank))
        for maps in (features.patches, features.decoder):
            check_grid(geometry, maps.shape[2])
