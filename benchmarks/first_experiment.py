"""What this program would have said of the first experiment: AnomalyVFM v1.2 against its baseline on MVTec AD 2.

    python benchmarks/first_experiment.py

Of that experiment there are seven pairs of image AUROC, one seed each, and no scores of single images. So the
variances are assumed, not measured: scenes by Hanley and McNeil (1982) at the sizes of MVTec AD 2, seeds by three
SD. Printed are intervals, verdicts and the least gain that could have been seen, with one seed an arm as there and
with five; the mean under other assumptions; what the seven changes say by themselves; the ledger of predictions;
and what was paid.
"""

import argparse
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from scipy import stats

from anomalyvfm_opt.store.confirmation_plan import Terms
from anomalyvfm_opt.verdict.compare import CORRELATION, Difference, average
from anomalyvfm_opt.verdict.decide import Ruling, decide, smallest_gain
from anomalyvfm_opt.verdict.predictions import RULE, RULE_PREDICTIONS, Judged, Prediction, calibrate
from anomalyvfm_opt.verdict.resolution import CONFIDENCE, MIN_GAIN, SEEDS, assume_difference
from anomalyvfm_opt.verdict.roi import ArmCost, Roi, describe_roi

GOOD_SCENES, BAD_SCENES = 8, 15  # of a category; MVTec AD 2 has 4-12 and 15, in 4-7 lights that add no scenes
SEED_SDS = (0.009, 0.02, 0.03)  # of sound detectors there: the median category, in between, the worst
COST_RATIO = 1.45  # v1.2 to baseline, as the experiment gives it
OTHERS = tuple((correlation, good) for correlation in (CORRELATION, 0.99, 0.999) for good in (4, GOOD_SCENES, 12))


@dataclass(frozen=True)
class Row:
    """One category of the experiment's own table: image AUROC on test_public, and seconds of v1.2's run."""

    category: str
    baseline: float
    adaptive: float
    seconds: float

    @property
    def change(self) -> float:
        return round(self.adaptive - self.baseline, 4)


ROWS = (
    Row("fruit_jelly", 0.6158, 0.6083, 156.5),
    Row("fabric", 0.6532, 0.6532, 211.9),
    Row("can", 0.5468, 0.5460, 153.8),
    Row("sheet_metal", 0.3583, 0.3583, 95.8),
    Row("vial", 0.6990, 0.6974, 77.7),
    Row("wallplugs", 0.4359, 0.4356, 119.0),
    Row("walnuts", 0.5685, 0.5722, 223.9),
)
MEAN_TERMS = Terms(MIN_GAIN, CONFIDENCE, None, 1)
CATEGORY_TERMS = Terms(MIN_GAIN, CONFIDENCE, None, len(ROWS))


@dataclass(frozen=True)
class Assumed:
    """What the experiment does not tell.

    Args:
        seeds: an arm; one, as there, leaves `seed_sd` as said, more measure it.
        seed_sd: of the AUROC of one arm from seed to seed.
        correlation: of the AUROC of both detectors on the same images.
        good_scenes: of each category.
    """

    seeds: int
    seed_sd: float = SEED_SDS[0]
    correlation: float = CORRELATION
    good_scenes: int = GOOD_SCENES


def assume_gain(row: Row, assumed: Assumed) -> Difference:
    return assume_difference(
        assumed.good_scenes,
        BAD_SCENES,
        estimate=row.change,
        auroc=row.baseline,
        correlation=assumed.correlation,
        seed_sd=assumed.seed_sd,
        seeds=assumed.seeds,
    )


def assume_mean(assumed: Assumed) -> Difference:
    return average([assume_gain(row, assumed) for row in ROWS])


def rule(difference: Difference, terms: Terms, assumed: Assumed) -> Ruling:
    """What the program says: with one seed an arm it has no part of the seeds to go by."""
    if assumed.seeds == 1:
        difference = replace(difference, parts=tuple(p for p in difference.parts if p.source == "scenes"))
    scenes = None if terms is MEAN_TERMS else (assumed.good_scenes, BAD_SCENES)
    return decide(difference, terms, None, scenes)


def rule_on_all(seeds: int) -> Iterable[tuple[str, ...]]:
    """Each category and the mean, under each SD of the seeds."""
    settings = [Assumed(seeds, sd) for sd in SEED_SDS]
    for row in ROWS:
        found = [(assume_gain(row, assumed), assumed) for assumed in settings]
        yield row.category, f"{RULE_PREDICTIONS[row.category]:+.4f}", *show(found, CATEGORY_TERMS)
    predicted = statistics.fmean(RULE_PREDICTIONS.values())
    yield "**mean**", f"{predicted:+.4f}", *show([(assume_mean(a), a) for a in settings], MEAN_TERMS)


def show(found: Sequence[tuple[Difference, Assumed]], terms: Terms) -> Iterable[str]:
    """Change; verdict, one where all are alike; intervals; the smallest gains."""
    rulings = [rule(difference, terms, assumed) for difference, assumed in found]
    yield f"{found[0][0].estimate:+.4f}"
    yield " / ".join(dict.fromkeys(f"{ruling.verdict}, {ruling.reason}" for ruling in rulings))
    for difference, _ in found:
        low, high = difference.interval(terms.confidence, terms.judged)
        yield f"{low:+.3f} to {high:+.3f}"
    yield " / ".join(f"{smallest_gain(difference, terms):.3f}" for difference, _ in found)


def rule_on_mean() -> Iterable[tuple[str, ...]]:
    """The mean with detectors more alike, and with fewer or more scenes."""
    for correlation, good in OTHERS:
        assumed = Assumed(SEEDS, correlation=correlation, good_scenes=good)
        _, *shown = show([(assume_mean(assumed), assumed)], MEAN_TERMS)
        yield f"{correlation:g}", str(good), *shown


def describe_changes() -> str:
    """What needs no assumption on scenes and seeds: the categories as a sample of categories."""
    changes = [row.change for row in ROWS]
    mean, sd = statistics.fmean(changes), statistics.stdev(changes)
    half_width = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(changes) - 1)) * sd / math.sqrt(len(changes))
    interval = f"{mean - half_width:+.4f} to {mean + half_width:+.4f}"
    assumed = assume_mean(Assumed(1)).error * math.sqrt(len(changes))
    return f"the seven changes: SD {sd:.4f}, where {assumed:.4f} is assumed above; their own t interval {interval}"


def judge_predictions() -> list[tuple[str, Judged]]:
    judged = []
    for row in ROWS:
        low, high = assume_gain(row, Assumed(SEEDS)).interval(CONFIDENCE, len(ROWS))
        prediction = Prediction(RULE, RULE_PREDICTIONS[row.category])
        judged.append((row.category, Judged(prediction, row.change, low, high)))
    return judged


def show_ledger(judged: Sequence[tuple[str, Judged]]) -> Iterable[tuple[str, ...]]:
    for category, one in judged:
        marks = (one.is_direction_right, one.is_size_reached, one.held)
        shown = ("yes" if mark else "no" for mark in marks)
        yield category, f"{one.prediction.gain:+.4f}", f"{one.confirmed:+.4f}", *shown


def print_table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def describe_cost() -> list[str]:
    """Of both runs of all categories; no image was timed, and what they were run for is not told apart."""
    ours = sum(row.seconds for row in ROWS)
    others = ours / COST_RATIO
    arms = ArmCost(ours / len(ROWS), None), ArmCost(others / len(ROWS), None)
    return describe_roi(Roi(ours + others, 0.0, 0.0, *arms), statistics.fmean(row.change for row in ROWS), "EUR")[
        :2
    ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    intervals = tuple(f"interval, SD {sd:g}" for sd in SEED_SDS)
    for seeds in (1, SEEDS):
        print(f"{seeds} seed{'s' * (seeds > 1)} an arm\n")
        heads = ("category", "predicted", "change", "verdict", *intervals, "smallest gain, by SD")
        print_table(heads, rule_on_all(seeds))
    print(f"the mean under other assumptions, {SEEDS} seeds an arm, SD {SEED_SDS[0]:g}\n")
    print_table(("correlation", "good scenes", "verdict", "interval", "smallest gain"), rule_on_mean())
    print(describe_changes() + "\n")
    judged = judge_predictions()
    print_table(("category", "predicted", "found", "direction right", "size reached", "held"), show_ledger(judged))
    (record,) = calibrate([one for _, one in judged])
    print(
        f"{record.source}: {record.held} of {record.n} held, {record.directions_right} right in direction",
        end="; ",
    )
    print(f"promised {record.mean_predicted:+.4f} in the mean, found {record.mean_confirmed:+.4f}\n")
    print("\n".join(describe_cost()))


if __name__ == "__main__":
    main()
