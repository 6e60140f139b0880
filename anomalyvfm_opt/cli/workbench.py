"""The wiring of a trial: images, synthetic anomalies, backbone and scorers become what the trial loop runs."""

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from anomalyvfm_opt import __version__
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import load_images, load_masks
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.evaluation.features import extract_features
from anomalyvfm_opt.evaluation.metrics import Metrics, auroc, evaluate
from anomalyvfm_opt.evaluation.scorers import ScorerBank, Scores
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.synthesis.exam import make_exam
from anomalyvfm_opt.synthesis.mixture import KINDS, Mixture, draw, fill_pool
from anomalyvfm_opt.training.finetune import Schedule, TrainingSet, finetune
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult

_POOL_SEED = 20260
_EXAM_SEED = 20261
_SCORING_BATCH = 32


@dataclass(frozen=True)
class Exam:
    """The images that every trial of a study is scored on: n images, uint8, with labels and masks."""

    keys: tuple[str, ...]
    images: np.ndarray  # (n, h, w, 3)
    labels: np.ndarray  # int (n,)
    masks: np.ndarray  # uint8 (n, h, w)
    has_mask: np.ndarray  # bool (n,): a bad image without a mask is left out of the pixel metrics


class Workbench:
    """All that the trials of one study share. Its `run` is a function of parameters and seed.

    Args:
        spec: of the study.
        split: its images, as found in the data folder of this host.
        backbone: in memory, used by one trial at a time.
        arrays: the host's store of decoded images and of synthetic anomalies.
    """

    def __init__(self, spec: Spec, split: Split, backbone: Backbone, arrays: ArrayStore) -> None:
        self._spec = spec
        self._backbone = backbone
        self._arrays = arrays
        size = spec.data.image_size_px
        self._normal = load_images(arrays, split.fit, size)
        self._held_out = load_images(arrays, split.held_out, size)
        n_fit = min(len(self._normal), spec.scoring.fit_images)
        self._fit_indices = (
            np.linspace(0, len(self._normal) - 1, n_fit).round().astype(int)
        )  # over the whole series
        self._pool_key = f"{[(str(r.path), r.path.stat().st_mtime_ns) for r in split.fit]}/{size}"
        self._exam = self._make_exam(split)

    def run(self, request: TrialRequest, progress: Progress) -> TrialResult:
        """One trial: fine-tune, score after each epoch, and answer with the last epoch's scores."""
        started = time.perf_counter()
        if request.parameters is None:
            detector = Detector(self._backbone)
            scores = self._score(detector, request.seed)
            return self._conclude(scores, started, {})
        p = request.parameters
        with build_detector(
            self._backbone,
            adapter=p.adapter,
            rank=p.rank,
            alpha=p.alpha,
            targets=p.targets,
            adapted_blocks=p.adapted_blocks,
            seed=request.seed,
        ) as detector:
            last: list[Scores] = []

            def finish_epoch(epoch: int, _loss: float) -> None:
                last[:] = [self._score(detector, request.seed)]
                progress.report(epoch, self._value(last[0])[0])

            images = self._draw_training_set(p, request.seed)
            losses = finetune(detector, images, self._schedule(p, request.seed), finish_epoch, progress.check)
        return self._conclude(last[0], started, {"losses": [round(loss, 5) for loss in losses]})

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

    def _draw_training_set(self, p: Parameters, seed: int) -> TrainingSet:
        """The trial's synthetic anomalies, chosen from the pools by its mix, count and seed."""
        mixture = Mixture(p.texture, p.structural, p.contextual, p.synthesis_count, p.synthesis_intensity)
        pool_size = self._spec.search.space.synthesis_count.high
        chosen = draw(mixture, max(pool_size, p.synthesis_count), seed)
        parts = [
            (images[indices], masks[indices])
            for kind in KINDS
            if len(indices := chosen[kind])
            for images, masks in [self._open_pool(kind, p.synthesis_intensity, max(pool_size, p.synthesis_count))]
        ]
        images, masks = (np.concatenate(column) for column in zip(*parts, strict=True))
        return TrainingSet(self._normal, images, masks)

    def _open_pool(self, kind: str, intensity: float, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Synthetic anomalies of one kind and level, made once on this host: the mask is the fourth channel."""

        def build(out: np.ndarray) -> None:
            fill_pool(out[..., :3], out[..., 3], kind, intensity, self._normal, _POOL_SEED)

        key = f"pool/{__version__}/{_POOL_SEED}/{kind}/{intensity}/{size}/{self._pool_key}"
        shape = (size, *self._normal.shape[1:3], 4)
        pool = self._arrays.get(key, build, shape, np.uint8)
        return pool[..., :3], pool[..., 3]

    def _make_exam(self, split: Split) -> Exam:
        """The search images, or (lock: all) held-out normals against the fixed mixture of synthetic anomalies."""
        size = self._spec.data.image_size_px
        if split.search:
            images = load_images(self._arrays, split.search, size)
            masks = load_masks(self._arrays, split.search, size)
            labels = np.array([record.label == "bad" for record in split.search], dtype=np.int64)
            has_mask = np.array([r.label == "good" or r.mask is not None for r in split.search])
            return Exam(tuple(r.key for r in split.search), images, labels, masks, has_mask)
        anomalous, masks, kinds = make_exam(self._held_out, self._spec.scoring.exam_images, _EXAM_SEED)
        images = np.concatenate([self._held_out, anomalous])
        no_mask = np.zeros((len(self._held_out), *masks.shape[1:]), dtype=np.uint8)
        keys = [r.key for r in split.held_out] + [f"exam/{i:04d}_{kind}" for i, kind in enumerate(kinds)]
        labels = np.array([0] * len(self._held_out) + [1] * len(anomalous), dtype=np.int64)
        return Exam(tuple(keys), images, labels, np.concatenate([no_mask, masks]), np.ones(len(keys), dtype=bool))

    def _score(self, detector: Detector, seed: int) -> Scores:
        fit = self._normal[self._fit_indices]
        bank = ScorerBank(
            extract_features(detector, fit, _SCORING_BATCH, with_heads=False),
            extract_features(detector, self._held_out, _SCORING_BATCH),
            self._spec.scoring.memory_patches,
            seed,
        )
        return bank.score(extract_features(detector, self._exam.images, _SCORING_BATCH))

    def _value(self, scores: Scores) -> tuple[float, str]:
        """The trial's value and the scorer that it comes from."""
        objective = self._spec.scoring.objective
        if objective in scores.image:
            return auroc(scores.image[objective], self._exam.labels), objective
        values = {name: auroc(image, self._exam.labels) for name, image in scores.image.items()}
        best = max(values, key=lambda name: values[name])
        return values[best], best

    def _conclude(self, scores: Scores, started: float, attributes: Mapping[str, Any]) -> TrialResult:
        value, scorer = self._value(scores)
        return TrialResult(
            value=value,
            metrics={name: self._evaluate(scores, name) for name in scores.image},
            image_keys=self._exam.keys,
            labels=self._exam.labels,
            scores=scores.image,
            attributes={
                **attributes,
                "scorer": scorer,
                "seconds": round(time.perf_counter() - started, 2),
                **describe_environment(self._backbone),
            },
        )

    def _evaluate(self, scores: Scores, scorer: str) -> Metrics:
        if scorer not in scores.maps:
            return evaluate(scores.image[scorer], self._exam.labels)
        size = self._exam.masks.shape[1:]
        maps = torch.from_numpy(scores.maps[scorer]).unsqueeze(1)
        full = F.interpolate(maps, size, mode="bilinear", align_corners=False).squeeze(1).numpy()
        masked = self._exam.has_mask
        if not self._exam.masks[masked].any():
            return evaluate(scores.image[scorer], self._exam.labels)
        return evaluate(scores.image[scorer], self._exam.labels, full[masked], self._exam.masks[masked])


def describe_environment(backbone: Backbone) -> dict[str, Any]:
    """What a trial's numbers depend on beside spec, data, parameters and seed."""
    import peft
    import timm

    device = backbone.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})",
        "dtype": "bfloat16" if device.type == "cuda" else "float32",
        "threads": torch.get_num_threads(),
        "host": platform.node(),
        "weights": backbone.weights,
        "versions": {
            "anomalyvfm_opt": __version__,
            "torch": str(torch.__version__),
            "timm": timm.__version__,
            "peft": peft.__version__,
        },
    }


def load_backbone(spec: Spec, device: torch.device) -> Backbone:
    """The backbone that a spec names, with its weights."""
    section = spec.backbone
    return Backbone(
        section.name,
        section.weights,
        section.decoder_blocks,
        section.patch_blocks,
        spec.data.image_size_px,
        device,
    )


def open_arrays(state_folder: Path) -> ArrayStore:
    """The store of decoded images that all processes of this host share."""
    return ArrayStore(state_folder / "cache")
