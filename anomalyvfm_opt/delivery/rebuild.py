"""A trial's detector and what its scorers remember, made again on this host out of the study's images."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from anomalyvfm_opt.bench.backbones import Backbones
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore, open_arrays
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.delivery.choice import Choice
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.evaluation.exam import Exam
from anomalyvfm_opt.evaluation.features import extract_features
from anomalyvfm_opt.evaluation.scorer_bank import CalibratedBank, ScorerBank, Scores
from anomalyvfm_opt.evaluation.scorers import ENSEMBLE
from anomalyvfm_opt.files import expand_home
from anomalyvfm_opt.inference.card import BestF1, ThresholdsCard
from anomalyvfm_opt.inference.scoring import MapCells, choose_map_scorer, score_frames
from anomalyvfm_opt.inference.thresholds import NormalScenes, find_best_f1, set_thresholds
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.model.memory import ShrinkingBatch
from anomalyvfm_opt.store.artifacts import ArtifactFolder, read_artifacts
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.store.home import artifacts_folder, state_folder
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.training.checkpoint import DETECTOR, open_detector
from anomalyvfm_opt.worker.images import find_images
from anomalyvfm_opt.worker.joining import check_joinable

_ENSEMBLE_CAVEAT = "the held-out images also set the scales that the ensemble compares by, so it is approximate"


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """A detector in memory with its scorers fitted, and what they say.

    Args:
        detector: trained, or frozen.
        bank: fitted and calibrated as in the trial.
        exam: that the trial's value comes from.
        scores: of the exam's images.
        map_scorer: whose map is given.
        normal: the held-out normal scenes.
        thresholds: made of them.
        batch: images at once.
    """

    detector: Detector
    bank: CalibratedBank
    exam: Exam
    scores: Scores
    map_scorer: str
    normal: NormalScenes
    thresholds: ThresholdsCard
    batch: ShrinkingBatch


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What this host has for a study.

    Args:
        data: folder of categories; None for the one stored with the study.
        arrays: the host's decoded images.
        artifacts: the trials' files.
        backbones: in memory.
    """

    data: Path | None
    arrays: ArrayStore
    artifacts: ArtifactFolder
    backbones: Backbones

    @classmethod
    def here(cls, data: Path | None, weights: Path | None, device: torch.device, cache_gib: float) -> Self:
        """Return what this host's folders hold.

        Args:
            data: as above.
            weights: a file with the backbones' weights; None for what a spec says.
            device: where backbones live.
            cache_gib: the most that arrays may take.
        """
        return cls(
            data=data,
            arrays=open_arrays(state_folder(), cache_gib),
            artifacts=ArtifactFolder(artifacts_folder()),
            backbones=Backbones(device, weights),
        )


def prepare_bench(store: Store, study: StudyRecord, choice: Choice, place: Workplace) -> tuple[Workbench, Split]:
    """Make the workbench that the trial ran on.

    Raises:
        AnomalyVFMOptError: the images, masks or weights of this host are not those of the study.
    """
    check_joinable(study)
    root = expand_home(place.data or Path(study.data_dir))
    split = find_images(study, list_images(store.engine, study.study_id), root)
    own = study.spec.data.image_size_px
    size = choice.parameters.image_size_px if choice.parameters else own
    spec = study.spec if size == own else study.spec.at_size(size)
    backbone = place.backbones.open_for(study, spec)
    return Workbench(spec, split, study.split_sha256, backbone, place.arrays), split


@contextmanager
def rebuilt(
    store: Store, study: StudyRecord, choice: Choice, bench: Workbench, split: Split, place: Workplace, a: float
) -> Iterator[Rebuilt]:
    """Put the trial's detector into the bench's backbone for the length of a `with`, and fit its scorers.

    Args:
        store: the study store.
        study: of the trial.
        choice: the trial.
        bench: that it ran on.
        split: the study's division.
        place: what this host has.
        a: share of false positives to promise.

    Raises:
        UsageError: it lacks the scorer, or left no detector.
        EnvironmentMissingError: its file is not there, or is damaged.
    """
    with _opened(store, study, choice, bench, place) as detector:
        batch = bench.begin_memory().scoring_batch
        exam = bench.exams.deciding
        fit = extract_features(detector, bench.fit, batch, with_heads=False)
        fitted = ScorerBank.fit(fit, bench.remembered)
        bank = fitted.calibrate(extract_features(detector, exam.calibration, batch))
        scores = score_frames(detector, bank, exam.images, batch)
        if choice.scorer not in scores.image:
            raise UsageError(
                f"trial {choice.trial.number} of {study.name} has no scorer {choice.scorer!r}",
                f"it has {', '.join(scores.image)}",
            )
        map_scorer = choose_map_scorer(choice.scorer, detector.decoder is not None)
        held_out = score_frames(detector, bank, exam.calibration, batch)
        peaks = MapCells.of(held_out, map_scorer, exam.calibration).find_peaks()
        # those that calibrate, and not those that sit the synthetic exam, by which trials were chosen
        records = split.held_out if split.search else split.held_out[::2]
        scenes = [record.scene_id for record in records]
        normal = NormalScenes.group(held_out.image[choice.scorer], peaks, scenes)
        caveat = _ENSEMBLE_CAVEAT if choice.scorer == ENSEMBLE else ""
        thresholds = set_thresholds(normal, a, _find_best_f1(bench, scores, choice.scorer), caveat)
        yield Rebuilt(
            detector=detector,
            bank=bank,
            exam=exam,
            scores=scores,
            map_scorer=map_scorer,
            normal=normal,
            thresholds=thresholds,
            batch=batch,
        )


@contextmanager
def _opened(
    store: Store, study: StudyRecord, choice: Choice, bench: Workbench, place: Workplace
) -> Iterator[Detector]:
    if choice.parameters is None:
        yield bench.freeze()
        return
    artifact = read_artifacts(store.engine, choice.trial.trial_id).get(DETECTOR)
    if artifact is None:
        raise UsageError(
            f"trial {choice.trial.number} of {study.name} left no detector: it was imported, or run by an older"
            " version",
            "name another trial: --trial N",
        )
    with open_detector(place.artifacts.verify(artifact.sha256), bench.backbone) as detector:
        yield detector


def _find_best_f1(bench: Workbench, scores: Scores, scorer: str) -> BestF1 | None:
    """Return the threshold on the search images; None with lock: all, where a search sees no labelled image."""
    exam = bench.exams.labelled
    return None if exam is None else find_best_f1(scores.image[scorer], exam.labels, exam.clusters)
