"""A verdict for people: a plain sentence first, then the tables, then what there is to doubt."""

from collections.abc import Iterator, Sequence

import numpy as np

from anomalyvfm_opt.report.grid import Grid, Part, signed
from anomalyvfm_opt.report.ledger_text import tabulate_judged
from anomalyvfm_opt.report.setting import SETTING_HEADING, describe_setting
from anomalyvfm_opt.report.verdict_doubts import list_doubts
from anomalyvfm_opt.report.verdict_next import name_next
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST, FROZEN_ARM
from anomalyvfm_opt.verdict.decide import Ruling
from anomalyvfm_opt.verdict.judge import CategoryVerdict
from anomalyvfm_opt.verdict.judge_spec import SpecVerdict
from anomalyvfm_opt.verdict.roi import Roi, describe_roi

_WORDS = {"ADOPT": "ADOPT", "KEEP_BASELINE": "KEEP THE BASELINE", "INCONCLUSIVE": "INCONCLUSIVE"}
_RULINGS = ("category", "verdict", "reason", "gain", "low", "high", "scenes g / b", "could see")
_ARMS = (
    "category",
    "frozen",
    "baseline",
    "finalist",
    SETTING_HEADING,
    "scorers b / f",
    "seeds",
    "training",
    "inference",
)


def describe(found: CategoryVerdict | SpecVerdict) -> list[Part]:
    """Return a verdict on a study or on a spec, as what is to be shown one after the other."""
    parts = describe_category(found) if isinstance(found, CategoryVerdict) else describe_spec(found)
    return [*parts, name_next(found)]


def describe_category(found: CategoryVerdict) -> list[Part]:
    """Return the verdict on one study."""
    currency = found.evidence.study.spec.verdict.currency
    return [
        _lead(found.ruling, found.evidence.study.name),
        *_tabulate([found], []),
        _explain(found.ruling, of_mean=False),
        *_tell_the_rest([found], found.roi, found.ruling, currency),
    ]


def describe_spec(found: SpecVerdict) -> list[Part]:
    """Return the verdict on a spec: the mean first, which decides, then each category."""
    count = len(found.categories)
    mean = ("mean", *_ruling_cells(found.ruling), "-", _three(found.smallest_gain))
    currency = found.categories[0].evidence.study.spec.verdict.currency
    return [
        _lead(found.ruling, f"{found.spec}, mean over {count} categories" if count > 1 else found.spec),
        *_tabulate(found.categories, [mean]),
        _explain(found.ruling, of_mean=True),
        *_tell_the_rest(found.categories, found.roi, found.ruling, currency),
    ]


def _tell_the_rest(
    categories: Sequence[CategoryVerdict], roi: Roi, ruling: Ruling, currency: str
) -> Iterator[Part]:
    yield from _second_views(categories)
    yield from _tell_luck(categories)
    yield from _tell_cost(roi, ruling, currency)
    yield from _tell_predictions(categories)
    yield from list_doubts(categories)


def _tabulate(categories: Sequence[CategoryVerdict], more: Sequence[tuple[str, ...]]) -> Iterator[Grid]:
    """Return what was ruled, and what it was ruled from."""
    rulings = [*map(_ruling_row, categories), *more]
    yield Grid("Gain in image AUROC on the locked images", _RULINGS, rulings, right=(3, 4, 5, 6, 7))
    arms = [_arms_row(one) for one in categories]
    yield Grid("Image AUROC of the arms, mean ± SD over fresh seeds", _ARMS, arms, right=(1, 2, 3, 6, 7, 8))


def _lead(ruling: Ruling, what: str) -> str:
    interval = ""
    if ruling.estimate is not None:
        percent = f"{100 * ruling.confidence:g} %"
        interval = f" Gain {signed(ruling.estimate)} image AUROC, {percent} interval {_interval(ruling)}."
    action = ruling.action[0].upper() + ruling.action[1:]
    return f"{_WORDS[ruling.verdict]}: {what}.{interval} {action}."


def _interval(ruling: Ruling) -> str:
    return f"{signed(ruling.low)} to {signed(ruling.high)}"


def _ruling_row(found: CategoryVerdict) -> tuple[str, ...]:
    good, bad = found.evidence.images.scene_counts
    category = found.evidence.study.category
    return category, *_ruling_cells(found.ruling), f"{good} / {bad}", _three(found.smallest_gain)


def _ruling_cells(ruling: Ruling) -> tuple[str, ...]:
    gain = (signed(value) for value in (ruling.estimate, ruling.low, ruling.high))
    return _WORDS[ruling.verdict], ruling.reason, *gain


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _arms_row(found: CategoryVerdict) -> tuple[str, ...]:
    arms = found.evidence.arms
    values = [_mean_value(arms[name].values) if name in arms else "-" for name in (FROZEN_ARM, BASELINE, FINALIST)]
    return (
        found.evidence.study.category,
        *values,
        describe_setting(arms[FINALIST].plan.parameters, found.evidence.study.spec.search.space),
        f"{arms[BASELINE].plan.scorer} / {arms[FINALIST].plan.scorer}",
        f"{len(arms[BASELINE].values)} / {len(arms[FINALIST].values)}",
        _ratio(found.roi.cost_ratio),
        _ratio(found.roi.inference_ratio),
    )


def _mean_value(values: np.ndarray) -> str:
    """Return the mean over seeds (s,), and their SD where there are several."""
    if not len(values):
        return "-"
    return f"{values.mean():.4f}" + (f" ±{values.std(ddof=1):.4f}" if len(values) > 1 else "")


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}x"


def _explain(ruling: Ruling, *, of_mean: bool) -> str:
    level = (
        "The mean decides; each category's interval is at its own level, divided by the number of categories"
        if of_mean
        else f"The interval is at a level divided by the {ruling.judged} categories of the spec"
        if ruling.judged > 1
        else "The interval is the one that decides"
    )
    return (
        f"{level}. gain = finalist - baseline; low and high hold the scenes and the seeds that could have been"
        " drawn; could see = the smallest gain that would have been adopted in 4 of 5 cases; training and"
        " inference = time of the finalist, as a multiple of the baseline's."
    )


def _second_views(categories: Sequence[CategoryVerdict]) -> Iterator[Part]:
    """Views that decide nothing."""
    rows = [row for one in categories for row in _list_views(one)]
    if rows:
        heads = ("category", "second view, decides nothing", "gain", "low", "high")
        yield Grid("", heads, rows, right=(2, 3, 4))


def _list_views(one: CategoryVerdict) -> Iterator[tuple[str, ...]]:
    category = one.evidence.study.category
    if one.bootstrap is not None:
        g = one.bootstrap
        yield category, "image AUROC, crossed bootstrap", signed(g.estimate), signed(g.low), signed(g.high)
    if one.au_pro is not None:
        g = one.au_pro
        what = f"AU-PRO 0.05, crossed bootstrap{_name_sizes(one)}"
        yield category, what, signed(g.estimate), signed(g.low), signed(g.high)
    for light, gain in one.lights.items() if len(one.lights) > 1 else ():  # one light is all images again
        what = f"image AUROC under {light} ({gain.good_scenes} / {gain.bad_scenes} scenes)"
        yield category, what, signed(gain.estimate), signed(gain.low), signed(gain.high)
    for arm, difference in one.frozen.items():
        low, high = difference.interval(one.ruling.confidence, one.ruling.judged)
        yield category, f"image AUROC, {arm} - frozen", signed(difference.estimate), signed(low), signed(high)


def _name_sizes(one: CategoryVerdict) -> str:
    """Name the sizes where the arms see images of different ones: each is judged at its own."""
    own = one.evidence.study.spec.data.image_size_px
    parameters = [one.evidence.arms[name].plan.parameters for name in (FINALIST, BASELINE)]
    sizes = [own if p is None else p.image_size_px for p in parameters]
    return f" (finalist at {sizes[0]} px, baseline at {sizes[1]} px)" if len(set(sizes)) > 1 else ""


def _tell_luck(categories: Sequence[CategoryVerdict]) -> Iterator[Part]:
    """Return what the search seemed to show, beside what the best of many shows by luck."""
    heads = (
        "category",
        "trials",
        "noise SD",
        "counts from",
        "luck of the best",
        "search value",
        "fresh seeds",
        "confirmed",
        "shrinkage",
    )
    rows = [_luck_row(one) for one in categories]
    yield Grid("What the search seemed to show (image AUROC)", heads, rows, right=tuple(range(1, 9)))
    yield (
        "noise SD = of the baseline's seeds on search data; counts from = the least difference of a single trial"
        " that is more than a seed; luck of the best = what the best of so many trials shows above the baseline"
        " with no effect at all; fresh seeds = of the finalist on the same search data; shrinkage = search value -"
        " confirmed."
    )


def _luck_row(one: CategoryVerdict) -> tuple[str, ...]:
    luck, noise = one.luck, one.noise
    return (
        one.evidence.study.category,
        str(luck.trials),
        "-" if noise is None else f"{noise.floor.sd:.4f}",
        "-" if noise is None else f"{noise.floor.least_difference:.4f}",
        signed(luck.best_of_none),
        f"{luck.search_value:.4f}",
        f"{luck.race_mean:.4f}",
        "-" if luck.confirmed is None else f"{luck.confirmed:.4f}",
        signed(luck.shrinkage),
    )


def _tell_cost(roi: Roi, ruling: Ruling, currency: str) -> Iterator[Part]:
    is_shown = ruling.low is not None and ruling.low > 0
    sentences = describe_roi(roi, ruling.estimate, currency, is_shown=is_shown)
    yield "Cost: " + "; ".join(sentences) + "."


def _tell_predictions(categories: Sequence[CategoryVerdict]) -> Iterator[Part]:
    judged = {one.evidence.study.category: one.predictions for one in categories}
    if any(judged.values()):
        yield tabulate_judged(judged)
