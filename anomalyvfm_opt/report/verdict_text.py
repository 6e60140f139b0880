"""A verdict for people: a plain sentence first, then the tables, then what there is to doubt."""

from collections.abc import Iterator, Sequence

import numpy as np

from anomalyvfm_opt.report.grid import Grid, Part, signed
from anomalyvfm_opt.report.ledger_text import tabulate_judged
from anomalyvfm_opt.report.verdict_doubts import list_doubts
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.verdict.decide import Ruling
from anomalyvfm_opt.verdict.judge import CategoryVerdict
from anomalyvfm_opt.verdict.judge_spec import SpecVerdict
from anomalyvfm_opt.verdict.plan import BASELINE, FINALIST, FROZEN_ARM
from anomalyvfm_opt.verdict.roi import Roi, describe_roi

_WORDS = {"ADOPT": "ADOPT", "KEEP_BASELINE": "KEEP THE BASELINE", "INCONCLUSIVE": "INCONCLUSIVE"}
_COLUMNS = (
    "category",
    "verdict",
    "reason",
    "gain",
    "low",
    "high",
    "frozen",
    "baseline",
    "finalist",
    "rank / alpha / epochs",
    "scorers b / f",
    "seeds",
    "scenes g / b",
    "cost",
    "could see",
)


def describe(found: CategoryVerdict | SpecVerdict) -> list[Part]:
    """A verdict on a study or on a spec, as what is to be shown one after the other."""
    return describe_category(found) if isinstance(found, CategoryVerdict) else describe_spec(found)


def describe_category(found: CategoryVerdict) -> list[Part]:
    """The verdict on one study."""
    what = f"{found.evidence.study.name}"
    return [
        _lead(found.ruling, what),
        Grid(
            "Image AUROC on the locked images", _COLUMNS, [_row(found)], right=(3, 4, 5, 6, 7, 8, 11, 12, 13, 14)
        ),
        _explain(found.ruling, of_mean=False),
        *_second_views([found]),
        *_tell_luck([found]),
        *_tell_cost(found.roi, found.ruling, found.evidence.study.spec.verdict.currency),
        *_tell_predictions([found]),
        *list_doubts([found]),
    ]


def describe_spec(found: SpecVerdict) -> list[Part]:
    """The verdict on a spec: the mean first, which decides, then each category."""
    count = len(found.categories)
    rows = [*(_row(one) for one in found.categories), _mean_row(found)]
    currency = found.categories[0].evidence.study.spec.verdict.currency
    return [
        _lead(found.ruling, f"{found.spec}, mean over {count} categories" if count > 1 else found.spec),
        Grid("Image AUROC on the locked images", _COLUMNS, rows, right=(3, 4, 5, 6, 7, 8, 11, 12, 13, 14)),
        _explain(found.ruling, of_mean=True),
        *_second_views(found.categories),
        *_tell_luck(found.categories),
        *_tell_cost(found.roi, found.ruling, currency),
        *_tell_predictions(found.categories),
        *list_doubts(found.categories),
    ]


def _lead(ruling: Ruling, what: str) -> str:
    interval = ""
    if ruling.estimate is not None:
        percent = f"{100 * ruling.confidence:g} %"
        interval = f" Gain {signed(ruling.estimate)} image AUROC, {percent} interval {_interval(ruling)}."
    action = ruling.action[0].upper() + ruling.action[1:]
    return f"{_WORDS[ruling.verdict]}: {what}.{interval} {action}."


def _interval(ruling: Ruling) -> str:
    return f"{signed(ruling.low)} to {signed(ruling.high)}"


def _row(found: CategoryVerdict) -> tuple[str, ...]:
    arms, ruling = found.evidence.arms, found.ruling
    values = [_mean_value(arms[name].values) if name in arms else "-" for name in (FROZEN_ARM, BASELINE, FINALIST)]
    good, bad = found.evidence.images.scene_counts
    return (
        found.evidence.study.category,
        _WORDS[ruling.verdict],
        ruling.reason,
        signed(ruling.estimate),
        signed(ruling.low),
        signed(ruling.high),
        *values,
        show_setting(arms[FINALIST].plan.parameters),
        f"{arms[BASELINE].plan.scorer} / {arms[FINALIST].plan.scorer}",
        f"{len(arms[BASELINE].values)} / {len(arms[FINALIST].values)}",
        f"{good} / {bad}",
        _ratio(found.roi.dearest_ratio),
        "-" if found.smallest_gain is None else f"{found.smallest_gain:.3f}",
    )


def _mean_row(found: SpecVerdict) -> tuple[str, ...]:
    ruling = found.ruling
    return (
        "mean",
        _WORDS[ruling.verdict],
        ruling.reason,
        signed(ruling.estimate),
        signed(ruling.low),
        signed(ruling.high),
        *(_mean_of_arms(found.categories, name) for name in (FROZEN_ARM, BASELINE, FINALIST)),
        *("-",) * 4,
        _ratio(found.roi.dearest_ratio),
        "-" if found.smallest_gain is None else f"{found.smallest_gain:.3f}",
    )


def _mean_of_arms(categories: Sequence[CategoryVerdict], name: str) -> str:
    arms = [one.evidence.arms.get(name) for one in categories]
    means = [float(arm.values.mean()) for arm in arms if arm is not None and len(arm.values)]
    return f"{sum(means) / len(means):.4f}" if len(means) == len(arms) else "-"


def _mean_value(values: np.ndarray) -> str:
    """The mean over seeds (s,), and their SD where there are several."""
    if not len(values):
        return "-"
    return f"{values.mean():.4f}" + (f" ±{values.std(ddof=1):.4f}" if len(values) > 1 else "")


def show_setting(p: Parameters | None) -> str:
    """Rank, alpha and epochs, and the image size where it is searched."""
    if p is None:
        return "frozen"
    size = f" / {p.image_size_px} px" if p.image_size_px else ""
    return f"R{p.rank} / A{p.alpha:.3g} / {p.epochs}{size}"


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
        f"{level}. gain = finalist - baseline, means over fresh seeds (± SD between seeds); low and high hold the"
        " scenes and the seeds that could have been drawn; could see = the smallest gain that would have been"
        " adopted in 4 of 5 cases; cost = the dearer of training and inference, against the baseline."
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
        yield category, "AU-PRO 0.05, crossed bootstrap", signed(g.estimate), signed(g.low), signed(g.high)
    for light, gain in one.lights.items():
        what = f"image AUROC under {light} ({gain.good_scenes} / {gain.bad_scenes} scenes)"
        yield category, what, signed(gain.estimate), signed(gain.low), signed(gain.high)
    for arm, difference in one.frozen.items():
        low, high = difference.interval(one.ruling.confidence, one.ruling.judged)
        yield category, f"image AUROC, {arm} - frozen", signed(difference.estimate), signed(low), signed(high)


def _tell_luck(categories: Sequence[CategoryVerdict]) -> Iterator[Part]:
    """What the search seemed to show, beside what the best of many shows by luck."""
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
