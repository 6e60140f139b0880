"""What a set of parameters is worth: a regression over all trials of a study, not the best value.

The best value of a search is its luckiest: with noise between seeds it lies above what the same parameters score
again (the winner's curse). A Gaussian process over all trials takes the noise out of each by what its neighbours
scored, and says how sure it is. Its form, and what it gains, are measured in docs/finalists.md.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.verdict.encoding import Encoding, round_parameters

LEAST_TRIALS = 5  # fewer say nothing of how values change with parameters

_ASSUMED_NOISE_SD = 0.02  # of an image AUROC from seed to seed, where nobody measured it and trials cannot tell

# Logarithms; values are scaled to variance 1 and parameters to 0-1. Priors are (mean, SD) of normal distributions.
_VARIANCE_PRIOR = (0.0, 1.0)
_LENGTH_PRIOR = (1.0, 1.0)  # longer than a range: most parameters do little
_NOISE_PRIOR = (math.log(0.3), 1.0)  # of its variance, where it was not measured
_VARIANCE_BOUNDS = (math.log(0.01), math.log(30.0))
_LENGTH_BOUNDS = (math.log(0.1), math.log(20.0))
_NOISE_BOUNDS = (math.log(1e-4), math.log(2.0))

Kernel = Callable[[Sequence[Parameters], Sequence[Parameters]], np.ndarray]  # k, l sets -> covariance (k, l)


@dataclass(frozen=True)
class Observed:
    """A finished trial: its number, what it ran and its value (AUROC, 0-1)."""

    number: int
    parameters: Parameters
    value: float


@dataclass(frozen=True)
class Smoothed:
    """A trial, with what its parameters are expected to score with another seed.

    Args:
        number: of the trial.
        parameters: of the trial.
        value: that it scored.
        mean: that its parameters are expected to score.
        sd: of what is not known about `mean`; the noise of a single seed is not in it.
    """

    number: int
    parameters: Parameters
    value: float
    mean: float
    sd: float


class Smoother:
    """The posterior of a Gaussian process, given the values of all trials.

    Args:
        trials: that it knows.
        center: the mean that parameters far from all trials are expected to score.
        kernel: the covariance of what two sets of parameters are worth.
        noise_sd: of a value, from seed to seed.
    """

    def __init__(self, trials: Sequence[Observed], center: float, kernel: Kernel, noise_sd: float) -> None:
        self.noise_sd = noise_sd
        self._center, self._kernel = center, kernel
        self._known = [trial.parameters for trial in trials]
        within = kernel(self._known, self._known) + noise_sd**2 * np.eye(len(trials))
        self._root = np.linalg.cholesky(within)  # (n, n), lower
        self._whitened = np.linalg.solve(self._root, np.array([trial.value for trial in trials]) - center)
        means, covariance = self._predict(self._known)
        estimates = [
            Smoothed(
                number=trial.number,
                parameters=trial.parameters,
                value=trial.value,
                mean=float(mean),
                sd=_root_of(variance),
            )
            for trial, mean, variance in zip(trials, means, np.diag(covariance), strict=True)
        ]
        self.estimates = sorted(estimates, key=lambda found: (-found.mean, -found.value, found.number))
        """All trials, the best expected first."""

    def predict(self, parameters: Parameters) -> tuple[float, float]:
        """Return what parameters are expected to score, and the SD of what is not known about that."""
        means, covariance = self._predict([parameters])
        return float(means[0]), _root_of(covariance[0, 0])

    def difference(self, a: Parameters, b: Parameters) -> tuple[float, float]:
        """Return the expected gain of `a` over `b` and its SD; what is not known of both alike is not in it."""
        means, covariance = self._predict([a, b])
        return float(means[0] - means[1]), _root_of(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])

    def _predict(self, wanted: Sequence[Parameters]) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means (k,) and covariance (k, k)."""
        explained = np.linalg.solve(self._root, self._kernel(self._known, wanted))  # (n, k)
        means = self._center + explained.T @ self._whitened
        return means, self._kernel(wanted, wanted) - explained.T @ explained


def smooth(trials: Sequence[Observed], noise_sd: float | None = None) -> Smoother:
    """Fit the regression.

    A constant times Matern 5/2 with a length for each parameter, plus noise. These numbers are the most probable
    ones under weak priors (maximum a posteriori), which hold the lengths of parameters that the trials say little
    of. The same trials give the same estimates.

    With fewer than 5 trials, or all values equal, nothing can be said of how values change with parameters. Then
    every set of parameters is drawn towards the mean of all values, without regard to its neighbours: its k values
    count k / (k + noise variance / variance between sets), and the variance between sets is taken to be what the
    values show beyond noise, at least as much as that of noise.

    Args:
        trials: in any order, at least one; several with the same parameters and other seeds are welcome.
        noise_sd: measured SD from seed to seed: the noise is not taken to be less. None: it is estimated from the
            trials (0.02 where they are too few).

    Raises:
        ValueError: there is no trial, a value is NaN or infinite, or `noise_sd` is not above 0.
    """
    values = np.array([trial.value for trial in trials])
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"values of trials must be finite, and at least one, but are {values.tolist()}")
    if noise_sd is not None and not noise_sd > 0:
        raise ValueError(f"noise_sd is {noise_sd}, but must be above 0")
    center = float(values.mean())
    if len(values) < LEAST_TRIALS or np.ptp(values) == 0:
        assumed = noise_sd or _ASSUMED_NOISE_SD
        return Smoother(trials, center, _shrink(values, assumed), assumed)
    kernel, fitted = _fit([trial.parameters for trial in trials], values, noise_sd)
    return Smoother(trials, center, kernel, fitted)


def choose_finalists(smoother: Smoother, count: int, exclude: Parameters | None) -> list[Smoothed]:
    """Choose the trials with the best expected values, one for each set of parameters.

    Args:
        smoother: of all trials.
        count: how many at most.
        exclude: the baseline's own parameters, which cannot be better than themselves.
    """
    excluded = None if exclude is None else round_parameters(exclude)
    finalists: dict[Parameters, Smoothed] = {}
    for found in smoother.estimates:
        rounded = round_parameters(found.parameters)
        if rounded != excluded:
            finalists.setdefault(rounded, found)
    return list(finalists.values())[:count]


def _shrink(values: np.ndarray, noise_sd: float) -> Kernel:
    """Return the kernel of sets that tell nothing of each other but for the mean, which is not known either."""
    noise = noise_sd**2
    between = max(float(values.var(ddof=1)) - noise, noise) if len(values) > 1 else noise

    def kernel(a: Sequence[Parameters], b: Sequence[Parameters]) -> np.ndarray:
        ours, others = ([round_parameters(one) for one in sets] for sets in (a, b))
        is_same = np.array([[one == other for other in others] for one in ours], dtype=np.float64)
        return between * is_same + (between + noise)

    return kernel


def _fit(known: Sequence[Parameters], values: np.ndarray, noise_sd: float | None) -> tuple[Kernel, float]:
    """Return the most probable kernel, in the units of the values, and the SD of the noise."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    encoding = Encoding(known)
    scale = float(values.std())
    if not encoding.columns:  # all trials have the same parameters
        spread = max(scale, noise_sd or 0.0)
        return _shrink(values, spread), spread
    least = _NOISE_BOUNDS[0] if noise_sd is None else 2 * math.log(noise_sd / scale)
    maximise = _Maximiser(encoding.columns, (least, max(least, _NOISE_BOUNDS[1])), noise_sd is None)
    form = ConstantKernel() * Matern(np.ones(len(encoding.columns)), nu=2.5) + WhiteKernel()
    regressor = GaussianProcessRegressor(form, optimizer=maximise, random_state=0)
    regressor.fit(encoding.encode(known), (values - values.mean()) / scale)
    smooth_part, noise_part = regressor.kernel_.k1, regressor.kernel_.k2

    def kernel(a: Sequence[Parameters], b: Sequence[Parameters]) -> np.ndarray:
        covariance: np.ndarray = scale**2 * smooth_part(encoding.encode(a), encoding.encode(b))
        return covariance

    return kernel, scale * math.sqrt(noise_part.noise_level)


class _Maximiser:
    """Finds the most probable hyperparameters, as scikit-learn asks an optimiser to.

    Its vector is the logarithm of variance, a length for each column, and noise. Ours has one length for all
    columns of a parameter, so that a choice of four counts as much as a number.
    """

    def __init__(self, columns: Sequence[str], noise_bounds: tuple[float, float], is_noise_free: bool) -> None:
        names = list(dict.fromkeys(columns))
        self._places = np.array([0, *(1 + names.index(column) for column in columns), 1 + len(names)])
        self._bounds = [_VARIANCE_BOUNDS, *[_LENGTH_BOUNDS] * len(names), noise_bounds]
        priors = [_VARIANCE_PRIOR, *[_LENGTH_PRIOR] * len(names), _NOISE_PRIOR]
        self._center, self._sd = np.array(priors).T
        if not is_noise_free:
            self._sd[-1] = math.inf  # its bound says more than a prior

    def __call__(
        self, objective: Callable[[np.ndarray], tuple[float, np.ndarray]], _start: np.ndarray, bounds: np.ndarray
    ) -> tuple[np.ndarray, float]:
        from scipy.optimize import minimize

        def lose(ours: np.ndarray) -> tuple[float, np.ndarray]:
            loss, slope = objective(ours[self._places])
            away = (ours - self._center) / self._sd
            summed = np.bincount(self._places, weights=slope, minlength=len(ours))
            return float(loss + away @ away / 2), summed + away / self._sd

        low, high = np.array(self._bounds).T
        found = minimize(lose, np.clip(self._center, low, high), jac=True, method="L-BFGS-B", bounds=self._bounds)
        return found.x[self._places], float(found.fun)


def _root_of(variance: float) -> float:
    return math.sqrt(max(float(variance), 0.0))  # rounding may leave it a little below 0
