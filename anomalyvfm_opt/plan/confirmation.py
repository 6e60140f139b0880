"""What follows a search, in seconds: the noise floor, the race and the confirmation."""

from collections.abc import Sequence

from anomalyvfm_opt.spec.contradictions import LEAST_NOISE_SEEDS
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.trial.cost import PartCosts, Range, spread_seconds

_FROZEN_TRIALS = 2  # one on search data, one on the locked images


def reckon_confirmation(spec: Spec, category: str, costs: PartCosts, draws: Sequence[Parameters]) -> Range:
    """Reckon the seconds on one worker. Every training is scored once, at its end.

    Which parameters will win is not known: finalists are taken to cost what random points of the space do.

    Args:
        spec: of the study.
        category: of it.
        costs: measured.
        draws: random points of the space.
    """
    terms, steps = spec.verdict, spec.training.steps_per_epoch

    def count(parameters: Parameters | None) -> float:
        return costs.count_seconds(parameters, steps, parameters.epochs if parameters else 1)

    baseline = spec.reference(spec.baseline, category)
    noise = max(terms.noise_seeds, terms.race_seeds, LEAST_NOISE_SEEDS)
    known = _FROZEN_TRIALS * count(None) + (count(baseline) * (noise + terms.seeds) if baseline else 0.0)
    trainings = terms.finalists * terms.race_seeds + terms.seeds
    low, mean, high = spread_seconds([count(parameters) for parameters in draws])
    return Range(0.9 * (known + trainings * low), known + trainings * mean, 1.1 * (known + trainings * high))
