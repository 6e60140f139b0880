"""Simulated studies over the real default space: what every trial scored, and what its parameters are worth.

A response is smooth. Three of the parameters matter, the others a little; two that are drawn have to fit each
other; and a learning rate and an alpha that are large together may make training fail, by a drawn degree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna

from anomalyvfm_opt.spec.model import SearchSection
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.space import Space
from anomalyvfm_opt.trial.space import build_sampler, list_distributions
from anomalyvfm_opt.verdict.encoding import Encoding
from anomalyvfm_opt.verdict.smoothing import Observed

AUROC = 0.75  # of random parameters, on average
SPREAD = 0.03  # SD of what random parameters are worth, those that fail left out
_CHOICES = ("adapter", "targets")
_DISTRIBUTIONS = list_distributions(Space())
_IMAGE_SIZE_PX = 448  # of all trials
optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Study:
    """Trials in their order, and the true value of each."""

    trials: list[Observed]
    true: np.ndarray  # (trials,)


def draw_study(sampler: str, trials: int, noise_sd: float, seed: int) -> Study:
    """One study; the same seed has the same response, whatever the sampler and the noise.

    Args:
        sampler: `tpe` or `random`, as a spec has them.
        trials: how many.
        noise_sd: of a value, from seed to seed.
        seed: of the response, the sampler and the noise.
    """
    rng = np.random.default_rng([seed, 77])
    response = _Response(rng)
    search = SearchSection(trials=trials, sampler=sampler, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=build_sampler(search, "simulated", "one"))
    observed, true = [], []
    for number in range(trials):
        trial = study.ask(_DISTRIBUTIONS)
        parameters = Parameters.from_suggested(trial.params, _IMAGE_SIZE_PX)
        true.append(response.value(parameters))
        observed.append(Observed(number, parameters, true[-1] + noise_sd * rng.normal()))
        study.tell(trial, observed[-1].value)
    return Study(observed, np.array(true))


def _draw_random(count: int) -> list[Parameters]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [Parameters.from_suggested(study.ask(_DISTRIBUTIONS).params, _IMAGE_SIZE_PX) for _ in range(count)]


class _Response:
    """What parameters are worth; their coordinates are 0-1 over the space."""

    _known = _draw_random(400)
    _encoding = Encoding(_known)

    def __init__(self, rng: np.random.Generator) -> None:
        names = sorted(set(self._encoding.columns))
        self._weights = {name: 0.15 * rng.exponential() for name in names}
        for name in rng.choice(names, 3, replace=False):
            self._weights[name] = 1 + rng.exponential()
        self._best = {name: rng.uniform(-0.2, 1.2) for name in names}
        self._effects = {name: rng.normal(size=self._encoding.columns.count(name)) for name in _CHOICES}
        self._pair = rng.choice([name for name in names if name not in _CHOICES], 2, replace=False)
        self._pair_weight, self._edge, self._fall = rng.exponential(), rng.uniform(1.5, 2.0), rng.uniform(0, 12)
        raw, beyond = self._measure(self._known)
        steady = raw[beyond == 0]
        self._scale, self._center = SPREAD / steady.std(), steady.mean()

    def value(self, parameters: Parameters) -> float:
        """The mean image AUROC over seeds."""
        return AUROC + float(self._scale) * float(self._measure([parameters])[0][0] - self._center)

    def _measure(self, sets: Sequence[Parameters]) -> tuple[np.ndarray, np.ndarray]:
        """What sets are worth, unscaled, and how far each is beyond the edge where training fails."""
        encoded = self._encoding.encode(sets)
        of_column = np.array(self._encoding.columns)
        x = {name: encoded[:, of_column == name] for name in self._weights}
        total = np.zeros(len(sets))
        for name, weight in self._weights.items():
            if name in _CHOICES:
                total += weight * np.sqrt(0.5) * (x[name] @ self._effects[name])
            else:
                total -= weight * 2 * (x[name][:, 0] - self._best[name]) ** 2
        one, other = (x[name][:, 0] for name in self._pair)
        total -= self._pair_weight * 2 * (one - other) ** 2
        beyond = np.maximum(x["learning_rate"][:, 0] + x["alpha_ratio"][:, 0] - self._edge, 0)
        return total - self._fall * beyond, beyond
