"""A confirmation's look at the locked images: once for each trained detector, by the scorer that was chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.evaluation.exam import Exam
from anomalyvfm_opt.evaluation.metrics import Metrics
from anomalyvfm_opt.evaluation.scorer_bank import Scores
from anomalyvfm_opt.trial.result import Look

_DRAWS = 400  # of scenes, shared by all models


@dataclass(frozen=True, kw_only=True)
class LockedScores:
    """What one detector made of the n locked images, by one scorer."""

    exam: Exam
    scorer: str
    value: float  # image AUROC
    metrics: Metrics
    scores: np.ndarray  # float (n,)
    resampled: np.ndarray | None  # AU-PRO 0.05 under the shared draws; None where there are no masks or no maps
    seconds_per_image: float  # of this scorer alone, see `measure_pace`


class Lock:
    """The locked images of a study, which are decoded when first looked at.

    Args:
        set_exam: makes their exam.
    """

    def __init__(self, set_exam: Callable[[], Exam]) -> None:
        self._set_exam = set_exam

    @cached_property
    def _exam(self) -> Exam:
        return self._set_exam()

    def judge(
        self, look: Look, score: Callable[[Exam], Scores], measure_pace: Callable[[str, Frames], float]
    ) -> LockedScores:
        """Score the locked images, once the look is written down.

        Args:
            look: with the scorer that was chosen on search data.
            score: scores an exam with the detector as it is.
            measure_pace: how long a scorer of that detector takes for one of some images, which are not the locked
                ones.

        Raises:
            EnvironmentMissingError: the detector lacks the scorer.
        """
        look.write_down()
        scorer, exam = look.scorer, self._exam
        scores = score(exam)
        if scorer not in scores.image:
            raise EnvironmentMissingError(f"no scorer {scorer!r}, there are {', '.join(scores.image)}")
        maps = {scorer: scores.maps[scorer]} if scorer in scores.maps else {}
        chosen = Scores({scorer: scores.image[scorer]}, maps)
        return LockedScores(
            exam=exam,
            scorer=scorer,
            value=exam.value(chosen, scorer)[0],
            metrics=exam.evaluate(chosen)[scorer],
            scores=chosen.image[scorer],
            resampled=exam.resample_au_pro(chosen, scorer, _DRAWS),
            seconds_per_image=measure_pace(scorer, exam.calibration),
        )
