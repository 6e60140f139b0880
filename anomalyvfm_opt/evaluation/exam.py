"""The exams of a study: the images that every trial is scored on, and how scores of them become values."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.evaluation.au_pro_resample import resample_au_pro
from anomalyvfm_opt.evaluation.metric_frames import reduce_masks, resize_maps
from anomalyvfm_opt.evaluation.metrics import Metrics, auroc, evaluate
from anomalyvfm_opt.evaluation.resample import draw_scene_counts
from anomalyvfm_opt.evaluation.scorer_bank import Scores
from anomalyvfm_opt.evaluation.stitching import mark_content

_DRAWS_SEED = 20262  # one sequence of draws for all models, which are compared in each


@dataclass(frozen=True, kw_only=True)
class Exam:
    """n scored images, and the m normal images that scores are calibrated on; no image is both."""

    keys: tuple[str, ...]
    images: Frames  # n
    labels: np.ndarray  # int (n,), 1 for anomalous
    masks: np.ndarray  # uint8 (n, h, w)
    is_masked: np.ndarray  # bool (n,): a bad image without a mask is left out of the pixel metrics
    calibration: Frames  # m
    clusters: tuple[str, ...]  # n: the scene of an image, and of the image that a synthetic anomaly is made of

    def value(self, scores: Scores, objective: str) -> tuple[float, str]:
        """Return the trial's value, an image AUROC, and the scorer that it comes from.

        Args:
            scores: of the n images.
            objective: a scorer, or `best` for the one with the highest AUROC, as for a detector that lacks it.
        """
        if objective in scores.image:
            return auroc(scores.image[objective], self.labels), objective
        values = self.list_aurocs(scores)
        best = max(values, key=lambda name: values[name])
        return values[best], best

    def list_aurocs(self, scores: Scores) -> dict[str, float]:
        """Return the image AUROC of each scorer."""
        return {name: auroc(image, self.labels) for name, image in scores.image.items()}

    def evaluate(self, scores: Scores) -> dict[str, Metrics]:
        """Return all metrics of each scorer; those of pixels where the scorer has maps and an anomaly has a mask.

        Pixels are those of the frames, or of frames reduced to at most 800 px; padding counts for nothing.
        """
        return {name: self._evaluate(scores, name) for name in scores.image}

    def resample_au_pro(self, scores: Scores, scorer: str, draws: int) -> np.ndarray | None:
        """Return AU-PRO up to 0.05 in draws of whole scenes, which are the same for all models that sit this exam.

        Args:
            scores: of the n images.
            scorer: whose maps are judged.
            draws: how many.

        Returns:
            float64 (draws,), NaN where no image drawn has a known anomaly; None as `evaluate` has no metrics of
            pixels.
        """
        if scorer not in scores.maps or not self._metric_masks.any():
            return None
        counts = draw_scene_counts(self.labels, self.clusters, draws, _DRAWS_SEED)
        return resample_au_pro(*self._bring_to_frames(scores.maps[scorer]), counts[:, self.is_masked])

    def _evaluate(self, scores: Scores, scorer: str) -> Metrics:
        if scorer not in scores.maps or not self._metric_masks.any():
            return evaluate(scores.image[scorer], self.labels)
        return evaluate(scores.image[scorer], self.labels, *self._bring_to_frames(scores.maps[scorer]))

    def _bring_to_frames(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return maps, masks and what is no padding (None: all of it) of the images whose mask is known."""
        shape = (self._metric_masks.shape[1], self._metric_masks.shape[2])
        is_image = mark_content(self.images, shape)[self.is_masked] if self.images.has_padding else None
        return resize_maps(maps[self.is_masked], shape), self._metric_masks, is_image

    @cached_property
    def _metric_masks(self) -> np.ndarray:
        return reduce_masks(self.masks, np.flatnonzero(self.is_masked))


@dataclass(frozen=True)
class Exams:
    """The exams that the trials of a study sit; there is at least one.

    Args:
        labelled: the search images; None with lock: all, where no trial may see labelled images.
        synthetic: held-out normal images against synthetic anomalies; None where only a labelled exam can be set.
    """

    labelled: Exam | None
    synthetic: Exam | None

    @property
    def deciding(self) -> Exam:
        """The exam that a trial's value comes from: the labelled one where there is one."""
        exam = self.labelled or self.synthetic
        if exam is None:
            raise ValueError("a study without an exam")
        return exam

    def list_objectives(self, scores: Scores, synthetic_scores: Scores | None, objective: str) -> dict[str, Any]:
        """Return a trial's attributes that tell how it did on either exam.

        Args:
            scores: on the deciding exam.
            synthetic_scores: on the synthetic one, where there is one.
            objective: as for `Exam.value`; the same rule for both.

        Returns:
            `objectives`: {`synthetic`, `labelled`}, None where there is no such exam; and of the synthetic exam,
            `synthetic_scorer` (that the value comes from) and `synthetic_auroc` by scorer.
        """
        labelled = self.labelled.value(scores, objective)[0] if self.labelled else None
        if self.synthetic is None or synthetic_scores is None:
            return {"objectives": {"synthetic": None, "labelled": labelled}}
        synthetic, scorer = self.synthetic.value(synthetic_scores, objective)
        return {
            "objectives": {"synthetic": synthetic, "labelled": labelled},
            "synthetic_scorer": scorer,
            "synthetic_auroc": self.synthetic.list_aurocs(synthetic_scores),
        }
