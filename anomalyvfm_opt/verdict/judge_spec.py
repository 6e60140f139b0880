"""The verdict on a spec: the mean gain over its categories, which is what decides first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from anomalyvfm_opt.verdict.compare import Difference, average
from anomalyvfm_opt.verdict.decide import Ruling, decide, smallest_gain
from anomalyvfm_opt.verdict.evidence import Case
from anomalyvfm_opt.verdict.judge import CategoryVerdict, judge
from anomalyvfm_opt.verdict.roi import UNIT_OF_MANY, ArmCost, Roi


@dataclass(frozen=True)
class SpecVerdict:
    """The verdict on a spec.

    Args:
        spec: its name.
        ruling: on the mean gain over the categories.
        difference: of the mean; None where a category has too few scenes, or no models, to say anything.
        smallest_gain: of the mean, that would have been adopted with a power of 0.8.
        roi: of all categories together; the time of an image is the mean over them.
        categories: each with its own verdict.
    """

    spec: str
    ruling: Ruling
    difference: Difference | None
    smallest_gain: float | None
    roi: Roi
    categories: Sequence[CategoryVerdict]


def judge_spec(cases: Sequence[Case]) -> SpecVerdict:
    """Judge a spec by the cases of all of its categories, see `read_spec`."""
    name = cases[0].evidence.study.spec.name
    categories = [judge(case) for case in cases]
    differences = [one.difference for one in categories]
    known = [difference for difference in differences if difference is not None]
    mean = average(known) if len(known) == len(differences) else None
    roi = _add([one.roi for one in categories])
    models = {
        f"{arm} of {one.evidence.study.category}": count
        for one in categories
        for arm, count in one.evidence.models.items()
    }
    terms = replace(categories[0].evidence.plan.terms, judged=1)
    return SpecVerdict(
        spec=name,
        ruling=decide(mean, terms, roi.dearest_ratio, None, models=models),
        difference=mean,
        smallest_gain=None if mean is None else smallest_gain(mean, terms),
        roi=roi,
        categories=categories,
    )


def _add(rois: Sequence[Roi]) -> Roi:
    """Add up the costs of all categories: retraining each once; the time of an image is a mean."""

    def add(arms: Sequence[ArmCost]) -> ArmCost:
        images = [arm.inference_s for arm in arms]
        known = [seconds for seconds in images if seconds is not None]
        return ArmCost(
            training_s=sum(arm.training_s for arm in arms),
            inference_s=fmean(known) if len(known) == len(images) else None,
        )

    return Roi(
        search_s=sum(roi.search_s for roi in rois),
        race_s=sum(roi.race_s for roi in rois),
        confirmation_s=sum(roi.confirmation_s for roi in rois),
        finalist=add([roi.finalist for roi in rois]),
        baseline=add([roi.baseline for roi in rois]),
        price_per_gpu_hour=rois[0].price_per_gpu_hour,
        unit=rois[0].unit if len({roi.unit for roi in rois}) == 1 else UNIT_OF_MANY,
    )
