"""Does the interval of a verdict hold what it promises? And what do the intervals that people use instead?

    python benchmarks/verdict_calibration.py [--datasets 2000] [--rivals 300] [--draws 200]

Simulated data with known effects (simulated_scenes.py), at the sizes of MVTec AD 2, of half of it, and of the real
categories of the tests. Per setting: how often the true gain lies below and above the interval (2.5 % each are
meant, of the mean; of a category with Bonferroni's level), how often a gain that is not there is adopted for the
mean or for any category (5 % at most), and how often a gain that is there is adopted.

Beside it, on the first category of each setting and without any gain: a bootstrap of images, which takes lights
for scenes and forgets the seeds; a bootstrap that draws each scene's seeds anew, as if seeds were nested in
scenes; the crossed bootstrap; and the best of 50 trials against one run of the baseline, whose gain is luck.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from anomalyvfm_opt.evaluation.resample import bootstrap_difference, mean_auroc
from anomalyvfm_opt.verdict.compare import Difference, average, compare_arms
from anomalyvfm_opt.verdict.resolution import CONFIDENCE, MIN_GAIN, SEEDS
from simulated_scenes import Category, Sample, draw_sample

AUROC = 0.72  # of the baseline
TRIALS = 50
GOOD_SCENES = (4, 6, 6, 8, 8, 10, 12, 12)  # of MVTec AD 2's categories, which have 15 bad scenes in 4-7 lights


@dataclass(frozen=True)
class Setting:
    """Categories, and how much an arm's AUROC moves from seed to seed."""

    name: str
    categories: tuple[Category, ...]
    seed_sd: float


SETTINGS = (
    Setting("MVTec AD 2, all scenes", tuple(Category(good, 15, 5) for good in GOOD_SCENES), 0.02),
    Setting("MVTec AD 2, half of them", tuple(Category(good // 2, 8, 5) for good in GOOD_SCENES), 0.02),
    Setting("MVTec AD 2, all, moody seeds", tuple(Category(good, 15, 5) for good in GOOD_SCENES), 0.03),
    Setting("two real categories", (Category(45, 45, 1), Category(62, 102, 1)), 0.02),
)
EFFECTS = (0.0, MIN_GAIN, 0.04, 0.08)


def draw_differences(setting: Setting, gain: float, seeds: int, rng: np.random.Generator) -> list[Difference]:
    """One data set of each category, compared."""
    samples = [draw_sample(c, (AUROC + gain, AUROC), seeds, setting.seed_sd, rng) for c in setting.categories]
    found = [compare_arms(s.finalist, s.baseline, s.labels, s.scenes) for s in samples]
    return [difference for difference in found if difference is not None]


def judge(setting: Setting, gain: float, seeds: int, datasets: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Shares of data sets, in percent."""
    mean_misses, category_misses = np.zeros(2), np.zeros(2)
    adopted_mean = adopted_any = judged = 0
    widths = []
    for _ in range(datasets):
        differences = draw_differences(setting, gain, seeds, rng)
        low, high = average(differences).interval(CONFIDENCE)
        mean_misses += (gain < low, gain > high)
        adopted_mean += low > MIN_GAIN
        widths.append((high - low) / 2)
        intervals = [d.interval(CONFIDENCE, len(differences)) for d in differences]
        category_misses += np.sum([(gain < low, gain > high) for low, high in intervals], axis=0)
        adopted_any += any(low > MIN_GAIN for low, _ in intervals)
        judged += len(intervals)
    shares = (*mean_misses / datasets, *category_misses / judged, adopted_mean / datasets, adopted_any / datasets)
    return (f"{np.mean(widths):.3f}", *(f"{100 * share:.2f}" for share in shares))


def resample_images(sample: Sample, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Images as if each were a scene; the models stay."""
    names = [str(i) for i in range(len(sample.labels))]
    means = [arm.mean(axis=0, keepdims=True) for arm in (sample.finalist, sample.baseline)]
    return bootstrap_difference(means[0], means[1], sample.labels, names, draws, rng)


def resample_nested(sample: Sample, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Scenes, and for each of them seeds of its own draw: seeds as if nested in scenes."""
    of_image = np.unique(sample.scenes, return_inverse=True)[1]
    columns = np.arange(len(of_image))
    differences = np.empty(draws)
    for draw in range(draws):
        values = []
        scenes = _draw_scenes(of_image, sample.labels, rng)
        for arm in (sample.finalist, sample.baseline):
            picked = rng.integers(len(arm), size=(len(arm), of_image.max() + 1))[:, of_image]
            values.append(mean_auroc(arm[picked, columns][:, scenes], sample.labels[scenes]).mean())
        differences[draw] = values[0] - values[1]
    return differences


def _draw_scenes(of_image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images of scenes drawn within each label."""
    groups = [np.unique(of_image[labels == label]) for label in (0, 1)]
    drawn = np.concatenate([rng.choice(group, len(group)) for group in groups])
    return np.concatenate([np.flatnonzero(of_image == scene) for scene in drawn])


def resample_crossed(sample: Sample, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Scenes and seeds, crossed."""
    arms = sample.finalist, sample.baseline
    return bootstrap_difference(*arms, sample.labels, sample.scenes, draws, rng)


RIVALS: dict[str, Callable[[Sample, int, np.random.Generator], np.ndarray]] = {
    "bootstrap of images": resample_images,
    "nested bootstrap": resample_nested,
    "crossed bootstrap": resample_crossed,
}


def judge_rivals(
    setting: Setting, datasets: int, draws: int, rng: np.random.Generator
) -> Iterator[tuple[str, ...]]:
    """Without any gain: the shares of intervals that lie above and below it, in percent."""
    samples = [
        draw_sample(setting.categories[0], (AUROC, AUROC), SEEDS, setting.seed_sd, rng) for _ in range(datasets)
    ]
    for name, resample in RIVALS.items():
        bounds = np.array([np.quantile(resample(sample, draws, rng), (0.025, 0.975)) for sample in samples])
        yield (
            setting.name,
            name,
            f"{100 * np.mean(bounds[:, 0] > 0):.1f}",
            f"{100 * np.mean(bounds[:, 1] < 0):.1f}",
        )
    ours = [compare_arms(s.finalist, s.baseline, s.labels, s.scenes) for s in samples]
    intervals = np.array([found.interval(CONFIDENCE) for found in ours if found is not None])
    shares = (np.mean(intervals[:, 0] > 0), np.mean(intervals[:, 1] < 0))
    yield (setting.name, "t interval, as here", *(f"{100 * share:.1f}" for share in shares))


def judge_best_trial(setting: Setting, datasets: int, rng: np.random.Generator) -> tuple[str, ...]:
    """The best of 50 trials that are all the baseline, minus one run of it."""
    gains, spreads = [], []
    for _ in range(datasets):
        sample = draw_sample(setting.categories[0], (AUROC, AUROC), TRIALS, setting.seed_sd, rng)
        trials = mean_auroc(sample.finalist, sample.labels)
        gains.append(trials.max() - mean_auroc(sample.baseline[:1], sample.labels)[0])
        spreads.append(trials.std(ddof=1))
    above = f"{100 * np.mean(np.array(gains) > MIN_GAIN):.0f}"
    return setting.name, f"{np.mean(spreads):.3f}", f"{np.mean(gains):+.3f}", above


def print_table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> None:
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=2000)
    parser.add_argument("--rivals", type=int, default=300)
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    heads = "setting|gain|seeds|half-width of the mean|mean: below %|above %|category: below %|above %"
    print_table(
        (*heads.split("|"), "mean adopted %", "any category adopted %"),
        (
            (setting.name, f"{gain:.2f}", str(seeds), *judge(setting, gain, seeds, options.datasets, rng))
            for setting in SETTINGS
            for gain, seeds in [*((gain, SEEDS) for gain in EFFECTS), (0.0, 3), (0.04, 10)]
        ),
    )
    rivals = (row for setting in SETTINGS for row in judge_rivals(setting, options.rivals, options.draws, rng))
    print_table(("setting, first category, no gain", "interval", "claims a gain %", "claims a loss %"), rivals)
    best = (judge_best_trial(setting, options.rivals, rng) for setting in SETTINGS)
    print_table(
        (
            "setting, first category, no gain",
            "SD between trials",
            f"best of {TRIALS}: mean gain",
            "above min_gain %",
        ),
        best,
    )


if __name__ == "__main__":
    main()
