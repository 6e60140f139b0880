"""The wiring of a trial: images, synthetic anomalies, backbone and scorers become what the trial loop runs."""

import time
from functools import partial
from typing import Any

import numpy as np
import torch

from anomalyvfm_opt.bench.course import Answers, Course, Finished, describe_environment
from anomalyvfm_opt.bench.lock import Lock, LockedScores
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import load_images
from anomalyvfm_opt.data.geometry import Geometry, choose_geometry
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.errors import DivergedError, DoesNotFitError
from anomalyvfm_opt.evaluation.au_pro_resample import AU_PRO
from anomalyvfm_opt.evaluation.coreset import choose_coreset
from anomalyvfm_opt.evaluation.exam import Exam, set_exams, set_locked
from anomalyvfm_opt.evaluation.features import TileFeatures, extract_features
from anomalyvfm_opt.evaluation.linter.findings import Finding
from anomalyvfm_opt.evaluation.linter.frozen import check_frozen, refuse_moved
from anomalyvfm_opt.evaluation.linter.lint import Linter, Scored
from anomalyvfm_opt.evaluation.linter.scores import check_finite
from anomalyvfm_opt.evaluation.scorers import ScorerBank, Scores
from anomalyvfm_opt.evaluation.stitching import check_grid
from anomalyvfm_opt.model.adapter import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.model.device_faults import explained_device
from anomalyvfm_opt.model.memory import (
    TrialMemory,
    describe_shortage,
    is_out_of_memory,
    release_cached_memory,
)
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.synthesis.mixture import Mixture
from anomalyvfm_opt.synthesis.pools import PoolStore
from anomalyvfm_opt.training.checkpoint import DETECTOR, pack_detector
from anomalyvfm_opt.training.finetune import Schedule, TrainingSet, finetune
from anomalyvfm_opt.training.resume import Checkpoints, NoCheckpoints, TrialInputs
from anomalyvfm_opt.trial.outcome import PrunedTrialError
from anomalyvfm_opt.trial.result import Look, Progress, TrialRequest, TrialResult

_SCORING_BATCH = 32
_CORESET_SEED = 20262  # one choice of patches for all trials


class Workbench:
    """All that the trials of one study share. Its `run` is a function of parameters and seed.

    Args:
        spec: of the study.
        split: its images, as found in the data folder of this host.
        content: the hash that identifies them on any host.
        backbone: in memory, used by one trial at a time.
        arrays: the host's store of decoded images and of synthetic anomalies.
        checkpoints: from which a trial that was interrupted goes on.
    """

    def __init__(
        self,
        spec: Spec,
        split: Split,
        content: str,
        backbone: Backbone,
        arrays: ArrayStore,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._spec = spec
        self._content = content
        self._backbone = backbone
        self._checkpoints = checkpoints or NoCheckpoints()
        geometry = choose_geometry(spec.data, split.fit)
        check_tiles(backbone, geometry)
        self._normal = load_images(arrays, split.fit, geometry)
        n_fit = min(len(self._normal), spec.scoring.fit_images)
        self._fit_indices = (
            np.linspace(0, len(self._normal) - 1, n_fit).round().astype(int)
        )  # over the whole series
        self._pools = PoolStore(arrays, self._normal, content, spec.search.space.synthesis_count.high)
        largest = choose_geometry(spec.at_size(max(spec.image_sizes_px)).data, split.fit)
        self._exams = set_exams(arrays, split, geometry, spec.scoring.exam_images, drawn_in=largest)
        self._lock = Lock(lambda: set_locked(arrays, split, geometry))
        self._memory = self._begin_trial()  # of the trial that runs; here, of the frozen network's look
        fit = self._extract_fit(Detector(backbone))
        self._remembered = choose_coreset(fit, spec.scoring.memory_patches, _CORESET_SEED)
        self._linter = Linter(self._normal.choose(self._fit_indices), self._exams.deciding, _SCORING_BATCH)

    def run(self, request: TrialRequest, progress: Progress) -> TrialResult:
        """One trial: fine-tune, score now and then, lint, and answer with the last epoch's scores.

        Raises:
            ValueError: parameters of another image size than this workbench's.
            DivergedError: training ran away, or a scorer's scores are not finite.
            DoesNotFitError: the device has too little memory, even for one image at a time.
            DeviceLostError: the GPU answers with errors.
            EnvironmentMissingError: an earlier trial changed the backbone.
        """
        own, p = self._spec.data.image_size_px, request.parameters
        if p is not None and p.image_size_px != own:
            raise ValueError(f"a trial at {p.image_size_px} px on a workbench of {own} px")
        refuse_moved(self._backbone)
        try:
            with explained_device(self._backbone.device):
                return self._run(request, progress)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = describe_shortage(error)
        # here and not in `except`, where the error's traceback still holds what did not fit
        release_cached_memory(self._backbone.device)
        raise DoesNotFitError(reason)

    def _run(self, request: TrialRequest, progress: Progress) -> TrialResult:
        started = time.perf_counter()
        self._memory = self._begin_trial()
        if request.parameters is None:
            finished = self._score_frozen(request.look)
        else:
            finished = self._train(request.parameters, request, progress)
        attributes = {
            **finished.attributes,
            "seconds": round(finished.earlier_s + time.perf_counter() - started, 2),
            **self._memory.describe(is_trained=request.parameters is not None),
            **describe_environment(self._backbone),
        }
        findings = [*finished.findings, *check_frozen(self._backbone)]
        return self._answer(finished, attributes, findings)

    def _answer(self, finished: Finished, attributes: dict[str, Any], findings: list[Finding]) -> TrialResult:
        """What is stored: of the exam that trials are scored on, or in a confirmation of the locked images."""
        exam, objective = self._exams.deciding, self._spec.scoring.objective
        answers, locked = finished.answers, finished.locked
        value, scorer = exam.value(answers.scores, objective)
        attributes |= self._exams.list_objectives(answers.scores, answers.synthetic, objective)
        kept = (findings, finished.artifacts, finished.discard)
        if locked is None:
            metrics, labelled = exam.evaluate(answers.scores), (exam.keys, exam.labels, answers.scores.image)
            return TrialResult(value, metrics, *labelled, {**attributes, "scorer": scorer}, *kept)
        attributes |= {"scorer": locked.scorer, "search_auroc": exam.list_aurocs(answers.scores)}
        attributes["inference_s_per_image"] = locked.seconds_per_image
        labelled = (locked.exam.keys, locked.exam.labels, {locked.scorer: locked.scores})
        resampled = {} if locked.resampled is None else {AU_PRO: locked.resampled}
        metrics = {locked.scorer: locked.metrics}
        return TrialResult(locked.value, metrics, *labelled, attributes, *kept, resampled)

    def _open_lock(self, look: Look | None, bank: ScorerBank, detector: Detector) -> LockedScores | None:
        """In a confirmation, with a detector that is finished; None elsewhere."""
        return None if look is None else self._lock.judge(look, partial(self._score, bank, detector))

    def _score_frozen(self, look: Look | None) -> Finished:
        detector = Detector(self._backbone)
        bank = self._fit_bank(detector)
        answers = self._finish(bank, detector, self._score(bank, detector, self._exams.deciding))
        findings = self._linter.lint(answers.deciding, None)
        locked = self._open_lock(look, bank, detector)
        return Finished(answers, findings, {"epoch_losses": []}, locked=locked)

    def _train(self, p: Parameters, request: TrialRequest, progress: Progress) -> Finished:
        """Train from the start, or from where an earlier run of the same trial was interrupted."""
        seed = request.seed
        inputs = TrialInputs(
            spec_sha256=self._spec.sha256(),
            split_sha256=self._content,
            weights_sha256=self._backbone.weights_sha256,
            parameters=p,
            seed=seed,
            is_size_searched=self._spec.is_size_searched,
        )
        checkpoints = self._checkpoints.for_trial(inputs)
        course = Course(checkpoints, progress, self._memory, describe_environment(self._backbone))
        last: list[Answers] = []
        schedule = self._schedule(p, seed)
        with build_detector(self._backbone, AdapterSettings.from_parameters(p), seed, schedule.steps) as detector:

            def finish_epoch(epoch: int, _loss: float = 0.0) -> None:
                is_due = request.is_watched and epoch % self._spec.scoring.every_epochs == 0
                if epoch < p.epochs and not is_due:
                    return
                bank = self._fit_bank(detector)
                scores = self._score(bank, detector, self._exams.deciding)
                course.report(epoch, self._exams.deciding.value(scores, self._spec.scoring.objective)[0])
                if epoch == p.epochs:
                    last.append(self._finish(bank, detector, scores))

            mixture = Mixture(p.texture, p.structural, p.contextual, p.synthesis_count, p.synthesis_intensity)
            images = TrainingSet(self._normal, *self._pools.draw(mixture, seed))
            try:
                losses = finetune(
                    detector,
                    images,
                    schedule,
                    finish_epoch,
                    progress.check,
                    self._memory.micro_batch,
                    start=course.begin(detector),
                    keep=course.keep,
                )
                if not last:  # interrupted between the last epoch and the end
                    finish_epoch(p.epochs)
            except (DivergedError, DoesNotFitError, PrunedTrialError):
                checkpoints.discard()  # there is no retry
                raise
            ranks = detector.allocation.final_ranks()
            findings = self._linter.lint(last[0].deciding, losses)
            locked = self._open_lock(request.look, last[0].deciding.bank, detector)
            artifacts = {DETECTOR: pack_detector(detector)}
        attributes: dict[str, Any] = {"epoch_losses": [round(loss, 5) for loss in losses.epochs]}
        attributes |= {"final_ranks": ranks} if ranks else {}
        attributes |= course.describe()
        return Finished(last[0], findings, attributes, artifacts, checkpoints.discard, course.earlier_s, locked)

    def _begin_trial(self) -> TrialMemory:
        return TrialMemory.begin(self._spec.training.batch_size, _SCORING_BATCH, self._backbone.device)

    def _schedule(self, p: Parameters, seed: int) -> Schedule:
        training = self._spec.training
        return Schedule(
            epochs=p.epochs,
            steps_per_epoch=training.steps_per_epoch,
            batch_size=training.batch_size,
            learning_rate=p.learning_rate,
            head_learning_rate=training.head_learning_rate,
            warmup_steps=training.warmup_steps,
            weight_decay=training.weight_decay,
            seed=seed,
        )

    def _fit_bank(self, detector: Detector) -> ScorerBank:
        return ScorerBank(self._extract_fit(detector), self._remembered)

    def _extract_fit(self, detector: Detector) -> TileFeatures:
        fit = self._normal.choose(self._fit_indices)
        return extract_features(detector, fit, self._memory.scoring_batch, with_heads=False)

    def _score(self, bank: ScorerBank, detector: Detector, exam: Exam) -> Scores:
        batch = self._memory.scoring_batch
        calibrated = bank.calibrate(extract_features(detector, exam.calibration, batch))
        scores = calibrated.score(extract_features(detector, exam.images, batch))
        if found := check_finite(scores):
            raise DivergedError(found[0].message)  # no value, so no finding: the trial is pruned
        return scores

    def _finish(self, bank: ScorerBank, detector: Detector, scores: Scores) -> Answers:
        """A finished detector also sits the synthetic exam, unless that is the one which it has just sat."""
        synthetic = self._exams.synthetic
        if synthetic is None or synthetic is self._exams.deciding:
            return Answers(Scored(detector, bank, scores), scores if synthetic else None)
        return Answers(Scored(detector, bank, scores), self._score(bank, detector, synthetic))


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
