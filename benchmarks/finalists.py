"""Which trial should go on? The best value, the best expected value, or the winner of a race of three.

    python benchmarks/finalists.py [--studies 200] [--forms | --intervals]

Simulated studies (simulated_studies.py) whose true values are known. Two tables, in 0.001 AUROC: the regret (the
best true value among the trials, minus the chosen one's) and the shrinkage (what was claimed, minus what is true:
what the winner will lose when it is run again). A race gives each of three trials three fresh seeds and takes the
best mean of these. With `--forms`: the same for other forms of the regression, by their best expected value. With
`--intervals`: how often a true value, and the true gain of the best expected trial over the first one, lie within
1.96 SD of what is expected.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from anomalyvfm_opt.verdict.encoding import Encoding
from anomalyvfm_opt.verdict.smoothing import choose_finalists, smooth
from simulated_studies import Study, draw_study

SAMPLERS, SIZES, NOISES = ("random", "tpe"), (20, 60), (0.01, 0.02, 0.03)
RACERS, SEEDS = 3, 3
Choice = tuple[int, float]  # number of the chosen trial, the value claimed for it


@dataclass(frozen=True)
class Case:
    """The first trials of a study, and fresh values of each."""

    study: Study
    noise_sd: float
    fresh: np.ndarray  # (trials, SEEDS)


def take_best_value(case: Case) -> Choice:
    best = max(case.study.trials, key=lambda trial: trial.value)
    return best.number, best.value


def take_smoothed(case: Case) -> Choice:
    best = smooth(case.study.trials, case.noise_sd).estimates[0]
    return best.number, best.mean


def take_smoothed_blindly(case: Case) -> Choice:
    best = smooth(case.study.trials).estimates[0]
    return best.number, best.mean


def race_values(case: Case) -> Choice:
    ordered = sorted(case.study.trials, key=lambda trial: -trial.value)
    return _race(case, [trial.number for trial in ordered[:RACERS]])


def race_smoothed(case: Case) -> Choice:
    return _race(case, _list_finalists(case))


def race_and_smooth(case: Case) -> Choice:
    """The finalists' fresh values join the trials, and the regression over all of them decides."""
    finalists = _list_finalists(case)
    trials = case.study.trials
    again = [replace(trials[i], value=float(value)) for i in finalists for value in case.fresh[i]]
    estimates = smooth([*trials, *again], case.noise_sd).estimates
    best = next(found for found in estimates if found.number in finalists)
    return best.number, best.mean


def _list_finalists(case: Case) -> list[int]:
    found = choose_finalists(smooth(case.study.trials, case.noise_sd), RACERS, None)
    return [finalist.number for finalist in found]


def _race(case: Case, racers: list[int]) -> Choice:
    means = case.fresh[racers].mean(axis=1)
    return racers[int(means.argmax())], float(means.max())


RULES: dict[str, Callable[[Case], Choice]] = {
    "best value": take_best_value,
    "best expected, noise not measured": take_smoothed_blindly,
    "best expected": take_smoothed,
    "race of the best 3 values": race_values,
    "race of the best 3 expected": race_smoothed,
    "the same, decided by the regression": race_and_smooth,
}


def fit_otherwise(is_one_length: bool, is_bounded: bool) -> Callable[[Case], Choice]:
    """The regression by maximum likelihood, without priors.

    Args:
        is_one_length: for all columns, instead of one for each.
        is_bounded: whether noise is at least what was measured.
    """
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    def choose(case: Case) -> Choice:
        trials = case.study.trials
        values = np.array([trial.value for trial in trials])
        encoding = Encoding([trial.parameters for trial in trials])
        x = encoding.encode([trial.parameters for trial in trials])
        least = (case.noise_sd / values.std()) ** 2 if is_bounded else 1e-4
        noise = WhiteKernel(max(least, 0.3), (least, max(2.0, 1.01 * least)))
        lengths = 1.0 if is_one_length else np.ones(len(encoding.columns))
        form = ConstantKernel(1.0, (0.01, 30)) * Matern(lengths, (0.1, 20), nu=2.5) + noise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a length at its bound is no fault here
            means = GaussianProcessRegressor(form, normalize_y=True, random_state=0).fit(x, values).predict(x)
        return int(means.argmax()), float(means.max())

    return choose


FORMS: dict[str, Callable[[Case], Choice]] = {
    "as here": take_smoothed,
    "one length": fit_otherwise(True, False),
    "one length, noise bounded": fit_otherwise(True, True),
    "a length each": fit_otherwise(False, False),
    "a length each, noise bounded": fit_otherwise(False, True),
}


def draw_cases(sampler: str, noise_sd: float, studies: int) -> Iterator[tuple[int, Case]]:
    """Cases of each size; a short study is the beginning of a long one."""
    for seed in range(studies):
        study = draw_study(sampler, max(SIZES), noise_sd, seed)
        noise = np.random.default_rng([seed, 78]).normal(size=(max(SIZES), SEEDS))
        for size in SIZES:
            part = Study(study.trials[:size], study.true[:size])
            yield size, Case(part, noise_sd, part.true[:, None] + noise_sd * noise[:size])


def judge(rules: dict[str, Callable[[Case], Choice]], studies: int) -> None:
    """Print both tables."""
    regrets, shrinkages = ([], [])
    for sampler in SAMPLERS:
        for noise_sd in NOISES:
            found: dict[int, list[list[tuple[float, float]]]] = {size: [] for size in SIZES}
            for size, case in draw_cases(sampler, noise_sd, studies):
                found[size].append([_measure(case, *rule(case)) for rule in rules.values()])
            for size, rows in found.items():
                name = f"{sampler}, {size} trials, {noise_sd:.2f}"
                regret, shrinkage = 1000 * np.moveaxis(np.array(rows), 2, 0)  # (studies, rules) each
                regrets.append((name, regret))
                shrinkages.append((name, shrinkage))
    for what, table in (("regret", regrets), ("shrinkage", shrinkages)):
        print(f"| {what}: sampler, trials, noise SD | " + " | ".join(rules) + " |\n|" + "---|" * (len(rules) + 1))
        for name, values in [*table, ("all", np.concatenate([values for _, values in table]))]:
            errors = values.std(axis=0) / np.sqrt(len(values))
            cells = [f"{mean:.1f} ± {error:.1f}" for mean, error in zip(values.mean(axis=0), errors, strict=True)]
            print(f"| {name} | " + " | ".join(cells) + " |")
        print(flush=True)


def judge_intervals(studies: int) -> None:
    """Print how often intervals that mean 95 % hold the truth, in percent."""
    names = [f"{what}, {noise}" for noise in ("noise measured", "not measured") for what in ("values", "gains")]
    print("| sampler, trials, noise SD | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for sampler in SAMPLERS:
        for noise_sd in NOISES:
            found: dict[int, list[list[float]]] = {size: [] for size in SIZES}
            for size, case in draw_cases(sampler, noise_sd, studies):
                found[size].append([share for known in (noise_sd, None) for share in _cover(case, known)])
            for size, rows in found.items():
                cells = " | ".join(f"{100 * share:.0f}" for share in np.mean(rows, axis=0))
                print(f"| {sampler}, {size} trials, {noise_sd:.2f} | {cells} |", flush=True)


def _cover(case: Case, noise_sd: float | None) -> tuple[float, float]:
    """The share of true values within their intervals, and whether the gain is."""
    smoother, true = smooth(case.study.trials, noise_sd), case.study.true
    within = [abs(found.mean - true[found.number]) <= 1.96 * found.sd for found in smoother.estimates]
    best, first = smoother.estimates[0], case.study.trials[0]
    gain, sd = smoother.difference(best.parameters, first.parameters)
    return float(np.mean(within)), float(abs(gain - (true[best.number] - true[0])) <= 1.96 * sd)


def _measure(case: Case, chosen: int, claimed: float) -> tuple[float, float]:
    """Regret and shrinkage."""
    true = case.study.true
    return float(true.max() - true[chosen]), float(claimed - true[chosen])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--forms", action="store_true")
    parser.add_argument("--intervals", action="store_true")
    options = parser.parse_args()
    if options.intervals:
        judge_intervals(options.studies)
    else:
        judge(FORMS if options.forms else RULES, options.studies)


if __name__ == "__main__":
    main()
