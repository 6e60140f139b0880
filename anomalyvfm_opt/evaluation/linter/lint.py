"""The linter: all checks of a trial, once, after its last epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.evaluation.coreset import choose_coreset
from anomalyvfm_opt.evaluation.exam import Exam
from anomalyvfm_opt.evaluation.features import Features, TileFeatures, extract_features
from anomalyvfm_opt.evaluation.linter.adapter import View, check_adapter
from anomalyvfm_opt.evaluation.linter.findings import Finding
from anomalyvfm_opt.evaluation.linter.passes import (
    batch_limit,
    check_input,
    check_mode,
    describe_batches,
    describe_prefix,
    describe_repeat,
    measure_difference,
    measure_spreads,
    watch,
)
from anomalyvfm_opt.evaluation.linter.scores import check_constant, check_inverted
from anomalyvfm_opt.evaluation.linter.training import check_covariance, check_loss
from anomalyvfm_opt.evaluation.scorer_bank import ScorerBank, Scores
from anomalyvfm_opt.model.adapter import Adapter
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.model.memory import ShrinkingBatch
from anomalyvfm_opt.training.finetune import Losses

_PROBE_IMAGES = 32
_PROBE_FIT_IMAGES = 16
_PROBE_TILES = 128  # large images in tiles are fewer
_AGAIN = 8  # images that are scored again by the trial's own scorers
_PROBE_PATCHES = 256  # in the memory bank of the training-free scorers of the probe
_SEED = 20262  # one probe for all trials


@dataclass(frozen=True)
class Scored:
    """A detector with the scorers that were fitted to it, and its scores of the exam."""

    detector: Detector
    bank: ScorerBank
    scores: Scores


class Linter:
    """Checks the trials of one study on one backbone.

    The probe is a few of the images that scorers are fitted on and a few of the exam's. How the frozen network
    sees them is found out once.

    Args:
        frozen: the detector of the frozen network, without an adapter in it.
        fit: normal images that scorers are fitted on.
        exam: what trials are scored on.
        batch_size: in tiles, of the trial's own scoring.
    """

    def __init__(self, frozen: Detector, fit: Frames, exam: Exam, batch_size: int) -> None:
        self._exam = exam
        self._batch_size = batch_size
        self._fit = fit.choose(_choose(fit, _PROBE_FIT_IMAGES))
        self._indices = _choose(exam.images, _PROBE_IMAGES)
        self._remembered = choose_coreset(self._extract_fit(frozen), _PROBE_PATCHES, _SEED)
        self._frozen = self._view(frozen, self._extract(frozen, self._indices, with_heads=False))

    def lint(self, trial: Scored, losses: Losses | None) -> list[Finding]:
        """Run all checks that apply, while the adapter is in the network; the frozen detector has no losses.

        Raises:
            DivergedError: an output of the network is not finite.
        """
        scores = trial.scores
        found = check_constant(scores) + check_inverted(scores, self._exam.labels, self._exam.clusters)
        found += check_covariance(trial.bank.gaussian)
        again, rest = self._indices[:_AGAIN], self._indices[_AGAIN:]
        with trial.detector.seeing_pixels(), watch(trial.detector) as seen:
            features = self._extract(trial.detector, again)
        found += check_mode(seen)
        tiles = self._exam.images.choose(again).read_tiles(0, self._small_batch)
        found += check_input(seen, tiles, trial.detector.backbone.network.pretrained_cfg)
        found += self._check_repeat(trial, again, features)
        adapter = trial.detector.adapter
        if losses is not None:
            found += check_loss(losses)
        if adapter is not None and adapter.settings.changes_network:
            bare = [replace(batch, heads=None) for batch in features]
            bare += self._extract(trial.detector, rest, with_heads=False)
            found += self._check_adapter(trial.detector, adapter, bare)
        return found

    @property
    def _small_batch(self) -> int:
        """How many tiles go at once: fewer than in the trial's scoring, so that images have other neighbours."""
        return max(1, min(self._batch_size // 4, len(self._exam.images) // 2))

    def _extract(
        self, detector: Detector, indices: np.ndarray, with_heads: bool = True, batch_size: int | None = None
    ) -> list[Features]:
        frames = self._exam.images.choose(indices)
        batch = ShrinkingBatch(batch_size or self._small_batch, detector.backbone.device)
        return list(extract_features(detector, frames, batch, with_heads).batches)

    def _check_repeat(self, trial: Scored, indices: np.ndarray, features: Sequence[Features]) -> list[Finding]:
        """Score some images in other batches; if they differ, see whether they do so in the same batches too."""
        limit = batch_limit(trial.detector.backbone.device)
        frames, spreads = self._exam.images.choose(indices), measure_spreads(trial.scores)
        first = {name: values[indices] for name, values in trial.scores.image.items()}
        second = trial.bank.score(TileFeatures(frames, iter(features))).image
        between_batches = measure_difference(first, second, spreads)
        if between_batches[0] <= limit:
            return []
        with trial.detector.seeing_pixels():
            again = self._extract(trial.detector, indices)
            regrouped = self._extract(trial.detector, indices, batch_size=max(1, self._small_batch // 2))
        third, fourth = (trial.bank.score(TileFeatures(frames, iter(each))).image for each in (again, regrouped))
        between_runs = measure_difference(second, third, spreads)
        if between_runs[0] > limit:
            return [describe_repeat(*between_runs, limit)]
        between_sizes = measure_difference(second, fourth, spreads)
        if trial.detector.prefix is None or between_sizes[0] > limit:
            return [describe_batches(*between_batches, limit)]
        return [describe_prefix(*between_batches, limit)]

    def _check_adapter(self, detector: Detector, adapter: Adapter, features: Sequence[Features]) -> list[Finding]:
        adapted = self._view(detector, features)
        return check_adapter(adapter.measure_updates(), adapted, self._frozen)

    def _extract_fit(self, detector: Detector) -> TileFeatures:
        batch = ShrinkingBatch(self._batch_size, detector.backbone.device)
        return extract_features(detector, self._fit, batch, with_heads=False)

    def _view(self, detector: Detector, features: Sequence[Features]) -> View:
        frames = self._exam.images.choose(self._indices)
        bank = ScorerBank.fit(self._extract_fit(detector), self._remembered)
        return View(
            torch.cat([batch.pooled for batch in features]), bank.score(TileFeatures(frames, iter(features)))
        )


def _choose(frames: Frames, most: int) -> np.ndarray:
    """Choose some images from all over a series, in mixed order."""
    tiles = len(frames.tiles) / len(frames)
    count = min(len(frames), max(_AGAIN, min(most, int(_PROBE_TILES / tiles))))
    spread = np.linspace(0, len(frames) - 1, count).round().astype(int)
    return np.random.default_rng(_SEED).permutation(spread)
