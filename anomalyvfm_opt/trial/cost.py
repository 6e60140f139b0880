"""What trials will cost, from the seconds that their parts took on this device."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import optuna

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.space import NO_ADAPTER, Space
from anomalyvfm_opt.trial.space import list_distributions

_DRAWS = 400
_SEED = 0


@dataclass(frozen=True)
class SizeFactors:
    """How much longer or shorter a trial takes at an image size than at the study's own.

    Args:
        step: an optimiser step.
        scoring: an epoch's end, and what is done once a trial.
    """

    step: float = 1.0
    scoring: float = 1.0


@dataclass(frozen=True)
class PartCosts:
    """Seconds of a trial's parts.

    Args:
        step: of one optimiser step of plain LoRA on attention in all blocks.
        adapters, targets, blocks: how much longer or shorter a step takes with each choice.
        scored_blocks: how much longer or shorter scoring takes with each choice of adapted blocks, since what lies
            below them was computed before; `none` without an adapter.
        scoring: of an epoch's end: all images through the detector and the scorers.
        frozen: of a trial without an adapter.
        fixed: of a trial beside steps and scoring: adapter in and out, metrics, database, and with
            labelled images the synthetic exam, which is sat once.
        sizes: by image size; all the rest is at the study's own.
    """

    step: float
    adapters: dict[str, float]
    targets: dict[str, float]
    blocks: dict[int | str, float]
    scored_blocks: dict[int | str, float]
    scoring: float
    frozen: float
    fixed: float
    sizes: Mapping[int, SizeFactors]

    def scale(self, factor: float) -> "PartCosts":
        """Return the costs of a category with `factor` times as many images to score; steps take as long."""
        scored = {name: factor * getattr(self, name) for name in ("scoring", "frozen", "fixed")}
        return replace(self, **scored)

    def count_seconds(self, parameters: Parameters | None, steps_per_epoch: int, every_epochs: int = 1) -> float:
        """Count the seconds of one trial, scored every so many epochs; `parameters` is None for `frozen`."""
        if parameters is None:
            return self.frozen
        p = parameters
        size = self.sizes[p.image_size_px]
        step = self.step * size.step * self.adapters[p.adapter]
        if p.has_adapter:
            step *= self.targets[p.targets] * self.blocks[p.adapted_blocks]
        scorings = math.ceil(p.epochs / every_epochs)
        scored = self.fixed + scorings * self.scoring
        blocks = self.scored_blocks[p.adapted_blocks if p.has_adapter else NO_ADAPTER]
        return size.scoring * blocks * scored + p.epochs * steps_per_epoch * step


@dataclass(frozen=True)
class Range:
    """An expected amount, and one that is as likely to be low or high as the search turns out."""

    low: float
    expected: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)


def draw_parameters(space: Space, own_size_px: int, count: int = _DRAWS) -> list[Parameters]:
    """Return random points of a space, the same each time.

    Args:
        space: of a spec.
        own_size_px: that spec's image size, which all points have if the space has no other.
        count: how many.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=_SEED))
    distributions = list_distributions(space)
    return [Parameters.from_suggested(study.ask(distributions).params, own_size_px) for _ in range(count)]


def expect_seconds(
    costs: PartCosts,
    references: Sequence[Parameters | None],
    draws: Sequence[Parameters],
    trials: int,
    startup_trials: int,
    steps_per_epoch: int,
    every_epochs: int = 1,
) -> Range:
    """Return the seconds of a study on one worker.

    Random trials cost what the space's draws cost on average. Where the sampler goes afterwards cannot be known:
    `low` has it settle on trials as cheap as the cheapest quarter's dearest, `high` on the dearest quarter's
    cheapest, and both allow for a tenth in the measurement.

    Args:
        costs: measured.
        references: that are run, None for frozen; they count among the trials.
        draws: random points of the space.
        trials: the study's budget.
        startup_trials: random ones before the sampler begins; references are among them.
        steps_per_epoch: optimiser steps.
        every_epochs: epochs between two scorings.
    """
    fixed = sum(costs.count_seconds(p, steps_per_epoch, every_epochs) for p in references)
    sampled = max(0, trials - len(references))
    seconds = [costs.count_seconds(p, steps_per_epoch, every_epochs) for p in draws]
    cheap, mean, dear = spread_seconds(seconds)
    random_ones = min(sampled, max(0, startup_trials - len(references)))
    searched = sampled - random_ones
    certain = fixed + random_ones * mean
    low, high = certain + searched * cheap, certain + searched * dear
    return Range(0.9 * low, certain + searched * mean, 1.1 * high)


def spread_seconds(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Return what the cheapest quarter takes at most, the mean, and what the dearest quarter takes at least."""
    cheap, _, dear = statistics.quantiles(seconds, n=4)
    mean = statistics.fmean(seconds)
    return min(cheap, mean), mean, max(dear, mean)
