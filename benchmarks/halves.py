"""A detector judged on both halves of a category's labelled images (`lock: half`), from one training.

By the search half a scorer is chosen, by the lock half the arms are compared. A benchmark on development data may
open the lock half; nothing else may before a confirmation.
"""

from dataclasses import replace

import numpy as np

from anomalyvfm_opt.bench.trial_run import TrialRun
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import load_images
from anomalyvfm_opt.data.geometry import choose_geometry
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.evaluation.exam import Exam
from anomalyvfm_opt.evaluation.exam_papers import set_exams
from anomalyvfm_opt.evaluation.scorer_bank import Scores
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from retraining import Silent, make_request

Measures = dict[str, dict[str, dict[str, float | None]]]
"""half -> scorer -> metric -> value; a scorer without maps has None for `au_pro_005`."""


class Halves:
    """The two exams of a category, and a workbench whose trials take both.

    Args:
        spec: with `lock: half`.
        split: of the category.
        content: the hash that identifies the division.
        backbone: of the spec.
        arrays: the host's store of decoded images.
    """

    def __init__(self, spec: Spec, split: Split, content: str, backbone: Backbone, arrays: ArrayStore) -> None:
        geometry = choose_geometry(spec.data, split.fit)
        both = replace(split, search=split.search + split.locked, locked=())
        self._workbench = Workbench(spec, both, content, backbone, arrays)
        self.fit = load_images(arrays, split.fit, geometry)
        halves = {"search": split.search, "locked": split.locked}
        self.exams: dict[str, Exam] = {
            half: set_exams(
                arrays, replace(split, search=records, locked=()), geometry, spec.scoring.exam_images
            ).deciding
            for half, records in halves.items()
        }
        self._keys = self.exams["search"].keys + self.exams["locked"].keys

    @property
    def pixels(self) -> np.ndarray:
        """The frames of both halves, uint8 (n, h, w, 3): first those of the search half, then the locked ones."""
        return np.concatenate([exam.images.pixels for exam in self.exams.values()])

    def judge(self, parameters: Parameters | None, seed: int) -> Measures:
        """Retrain and score all images in one pass: an image's scores do not depend on the others'."""
        run = TrialRun(self._workbench, make_request(parameters, seed), Silent())
        if run.finish().image_keys != self._keys or run.answers is None:
            raise SystemExit("the workbench scored other images than those of the two halves")
        return self.measure(run.answers.scores)

    def measure(self, scores: Scores) -> Measures:
        """Metrics of each half alone, as trials measure.

        Args:
            scores: of the images in the order of `pixels`.
        """
        n_search = len(self.exams["search"].keys)
        rows = {"search": slice(None, n_search), "locked": slice(n_search, None)}
        return {half: _evaluate(exam, scores, rows[half]) for half, exam in self.exams.items()}


def _evaluate(exam: Exam, scores: Scores, rows: slice) -> dict[str, dict[str, float | None]]:
    own = Scores(
        {scorer: values[rows] for scorer, values in scores.image.items()},
        {scorer: maps[rows] for scorer, maps in scores.maps.items()},
    )
    return {
        scorer: {"image_auroc": metrics.image_auroc, "au_pro_005": metrics.au_pro_005}
        for scorer, metrics in exam.evaluate(own).items()
    }
