"""One trial on a workbench: its detector is trained or frozen, scored, linted, and what came of it is answered."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from anomalyvfm_opt.bench.course import Answers, Course, Finished, describe_environment
from anomalyvfm_opt.bench.lock import LockedScores
from anomalyvfm_opt.bench.pace import measure_pace
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.errors import DivergedError, DoesNotFitError, EnvironmentMissingError
from anomalyvfm_opt.evaluation.au_pro_resample import AU_PRO
from anomalyvfm_opt.evaluation.exam import Exam
from anomalyvfm_opt.evaluation.features import extract_features
from anomalyvfm_opt.evaluation.linter.frozen import check_frozen, refuse_moved
from anomalyvfm_opt.evaluation.linter.lint import Scored
from anomalyvfm_opt.evaluation.linter.scores import check_finite
from anomalyvfm_opt.evaluation.scorer_bank import ScorerBank, Scores
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.model.device_faults import explained_device
from anomalyvfm_opt.model.memory import Shortage, attempt
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.synthesis.mixture import Mixture
from anomalyvfm_opt.training.checkpoint import DETECTOR, pack_detector
from anomalyvfm_opt.training.finetune import Losses, Schedule, TrainingSet, finetune
from anomalyvfm_opt.training.resume import TrialInputs
from anomalyvfm_opt.trial.outcome import PrunedTrialError
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult


class TrialRun:
    """All that one trial has to itself; it is made for a request and thrown away after its result.

    Args:
        bench: what the trial shares with others, which it does not change.
        request: the trial.
        progress: the line to the loop.

    Attributes:
        answers: the scores of the finished detector, once there are any.
    """

    def __init__(self, bench: Workbench, request: TrialRequest, progress: Progress) -> None:
        self._bench = bench
        self._request = request
        self._progress = progress
        self._started = time.perf_counter()
        self._memory = bench.begin_memory()
        self.answers: Answers | None = None

    def finish(self) -> TrialResult:
        """Run the trial to its end and return what is stored of it."""
        parameters, backbone = self._request.parameters, self._bench.backbone
        finished = self._score_frozen() if parameters is None else self._train(parameters)
        attributes = {
            **finished.attributes,
            "seconds": round(finished.earlier_s + time.perf_counter() - self._started, 2),
            **self._memory.describe(is_trained=parameters is not None),
            **describe_environment(backbone),
        }
        moved = check_frozen(backbone)
        if moved:
            self._bench.prefixes.forget()  # else other trials would read what no sound network gave
        return self._answer(finished, attributes, [*finished.findings, *moved])

    def _answer(self, finished: Finished, attributes: Mapping[str, Any], findings: list[Any]) -> TrialResult:
        """Return the result on the exam that trials are scored on, or in a confirmation on the locked images."""
        exams, objective = self._bench.exams, self._bench.spec.scoring.objective
        exam, answers, locked = exams.deciding, finished.answers, finished.locked
        value, scorer = exam.value(answers.scores, objective)
        attributes = {**attributes, **exams.list_objectives(answers.scores, answers.synthetic, objective)}
        if locked is None:
            return TrialResult(
                value=value,
                metrics=exam.evaluate(answers.scores),
                image_keys=exam.keys,
                labels=exam.labels,
                scores=answers.scores.image,
                attributes={**attributes, "scorer": scorer},
                findings=findings,
                artifacts=finished.artifacts,
                discard=finished.discard,
            )
        attributes |= {"scorer": locked.scorer, "search_auroc": exam.list_aurocs(answers.scores)}
        return TrialResult(
            value=locked.value,
            metrics={locked.scorer: locked.metrics},
            image_keys=locked.exam.keys,
            labels=locked.exam.labels,
            scores={locked.scorer: locked.scores},
            attributes={**attributes, "inference_s_per_image": locked.seconds_per_image},
            findings=findings,
            artifacts=finished.artifacts,
            discard=finished.discard,
            resampled={} if locked.resampled is None else {AU_PRO: locked.resampled},
        )

    def _score_frozen(self) -> Finished:
        detector = self._bench.freeze()
        bank = self._fit_bank(detector)
        scores = self._score(bank, detector, self._bench.exams.deciding)
        self.answers = answers = self._finish_scoring(bank, detector, scores)
        return Finished(
            answers=answers,
            findings=self._bench.linter.lint(answers.deciding, None),
            attributes={"epoch_losses": [], **_describe_prefix(detector)},
            locked=self._open_lock(bank, detector),
        )

    def _train(self, p: Parameters) -> Finished:
        """Train from the start, or from where an earlier run of the same trial was interrupted."""
        bench, seed = self._bench, self._request.seed
        inputs = TrialInputs(
            spec_sha256=bench.spec.sha256(),
            split_sha256=bench.split_sha256,
            weights_sha256=bench.backbone.weights_sha256,
            parameters=p,
            seed=seed,
            is_size_searched=bench.spec.is_size_searched,
        )
        course = Course(
            bench.checkpoints.for_trial(inputs), self._progress, self._memory, describe_environment(bench.backbone)
        )
        schedule = Schedule.of(bench.spec.training, p, seed)
        settings = AdapterSettings.from_parameters(p)
        open_prefix = bench.prefixes.open
        width = bench.spec.training.decoder_width
        with build_detector(bench.backbone, settings, seed, schedule.steps, open_prefix, width) as detector:
            losses, answers = self._train_detector(detector, p, schedule, course)
            ranks = detector.allocation.final_ranks()
            findings = bench.linter.lint(answers.deciding, losses)
            locked = self._open_lock(answers.deciding.bank, detector)
            attributes: dict[str, Any] = {
                "epoch_losses": [round(loss, 5) for loss in losses.by_epoch],
                **({"final_ranks": ranks} if ranks else {}),
                **course.describe(),
                **_describe_prefix(detector),
            }
            return Finished(
                answers=answers,
                findings=findings,
                locked=locked,
                artifacts={DETECTOR: pack_detector(detector)},
                attributes=attributes,
                discard=course.discard,
                earlier_s=course.earlier_s,
            )

    def _train_detector(
        self, detector: Detector, p: Parameters, schedule: Schedule, course: Course
    ) -> tuple[Losses, Answers]:
        """Train, and score as often as the spec says; of a trial that has no retry no checkpoint is kept."""
        images = self._draw_images(p, schedule.seed)
        try:
            if detector.prefix is not None:
                self._bench.prefixes.fill(detector.prefix, images, schedule, self._progress.check)
            losses = finetune(
                detector,
                images,
                schedule,
                on_epoch=partial(self._finish_epoch, detector, course, schedule.epochs),
                on_step=self._progress.begin_step,
                micro_batch=self._memory.micro_batch,
                start=course.begin(detector),
                keep=course.keep,
            )
            # there are none if an earlier run was interrupted between its last epoch and its end
            return losses, self.answers or self._score_last(detector, course, schedule.epochs)
        except (DivergedError, DoesNotFitError, PrunedTrialError):
            course.discard()
            raise

    def _draw_images(self, p: Parameters, seed: int) -> TrainingSet:
        anomalous, masks = self._bench.pools.draw(Mixture.of(p), seed)
        return TrainingSet(self._bench.normal, anomalous, masks)

    def _finish_epoch(self, detector: Detector, course: Course, last: int, epoch: int, loss: float) -> None:
        """Score the detector after the last epoch, and before it where somebody watches."""
        self._progress.finish_epoch(epoch, loss)
        if epoch == last:
            self.answers = self._score_last(detector, course, epoch)
        elif self._request.is_watched and epoch % self._bench.spec.scoring.every_epochs == 0:
            self._score_epoch(detector, course, epoch)

    def _score_epoch(self, detector: Detector, course: Course, epoch: int) -> tuple[ScorerBank, Scores]:
        """Score the deciding exam and report the value."""
        exam, objective = self._bench.exams.deciding, self._bench.spec.scoring.objective
        bank = self._fit_bank(detector)
        scores = self._score(bank, detector, exam)
        course.report(epoch, exam.value(scores, objective)[0])
        return bank, scores

    def _score_last(self, detector: Detector, course: Course, epoch: int) -> Answers:
        bank, scores = self._score_epoch(detector, course, epoch)
        return self._finish_scoring(bank, detector, scores)

    def _finish_scoring(self, bank: ScorerBank, detector: Detector, scores: Scores) -> Answers:
        """Let a finished detector also sit the synthetic exam, unless that is the one which it has just sat."""
        exams = self._bench.exams
        if exams.synthetic is None or exams.synthetic is exams.deciding:
            return Answers(Scored(detector, bank, scores), scores if exams.synthetic else None)
        return Answers(Scored(detector, bank, scores), self._score(bank, detector, exams.synthetic))

    def _open_lock(self, bank: ScorerBank, detector: Detector) -> LockedScores | None:
        """Judge the locked images in a confirmation, with a detector that is finished; None elsewhere.

        All blocks run on them: a detector at work meets each image once.
        """
        look = self._request.look
        if look is None:
            return None

        def measure(scorer: str, frames: Frames) -> float:
            return measure_pace(detector, bank, scorer, frames, self._memory.scoring_batch)

        with detector.seeing_pixels():
            return self._bench.lock.judge(look, partial(self._score, bank, detector), measure)

    def _fit_bank(self, detector: Detector) -> ScorerBank:
        fit = extract_features(detector, self._bench.fit, self._memory.scoring_batch, with_heads=False)
        return ScorerBank.fit(fit, self._bench.remembered)

    def _score(self, bank: ScorerBank, detector: Detector, exam: Exam) -> Scores:
        batch = self._memory.scoring_batch
        calibrated = bank.calibrate(extract_features(detector, exam.calibration, batch))
        scores = calibrated.score(extract_features(detector, exam.images, batch))
        if found := check_finite(scores):
            raise DivergedError(found[0].message)  # no value, so no finding: the trial is pruned
        return scores


def _describe_prefix(detector: Detector) -> dict[str, Any]:
    """Return the trial's attribute that says how the outputs of its frozen blocks were come by."""
    return {} if detector.prefix is None else {"prefix": detector.prefix.describe()}


def run_trial(bench: Workbench, request: TrialRequest, progress: Progress) -> TrialResult:
    """Run one trial: fine-tune, score now and then, lint, and answer with the last epoch's scores.

    Raises:
        ValueError: parameters of another image size than the workbench's.
        DivergedError: training ran away, or a scorer's scores are not finite.
        DoesNotFitError: the device has too little memory, even for one image at a time.
        DeviceLostError: the GPU answers with errors.
        EnvironmentMissingError: an earlier trial changed the backbone.
    """
    own, p, device = bench.spec.data.image_size_px, request.parameters, bench.backbone.device
    if p is not None and p.image_size_px != own:
        raise ValueError(f"a trial at {p.image_size_px} px on a workbench of {own} px")
    try:
        refuse_moved(bench.backbone)
    except EnvironmentMissingError:
        bench.prefixes.forget()  # of a trial that ended before this was looked for
        raise

    def run() -> TrialResult:
        with explained_device(device):
            return TrialRun(bench, request, progress).finish()

    result = attempt(run, device)
    if isinstance(result, Shortage):
        raise DoesNotFitError(result.reason)
    return result
