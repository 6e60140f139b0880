"""From a spec's space to Optuna's distributions, and from an asked trial to the parameters of training."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from anomalyvfm_opt.spec.dimensions import Dimension, Interval, list_dimensions
from anomalyvfm_opt.spec.model import SearchSection
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.shown import show_value
from anomalyvfm_opt.spec.space import Space
from anomalyvfm_opt.store.optuna_private import is_contained
from anomalyvfm_opt.trial.seeds import derive_seed


def list_distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions of a space, in the order in which a trial draws from them."""
    return {name: _distribute(dimension) for name, dimension in list_dimensions(space).items()}


def _distribute(dimension: Dimension) -> BaseDistribution:
    if not isinstance(dimension, Interval):
        return CategoricalDistribution(dimension)
    if dimension.is_whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.is_log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.is_log)


def fix_parameters(
    parameters: Parameters | None, distributions: dict[str, BaseDistribution]
) -> dict[str, Any] | None:
    """Return what to enqueue so that Optuna's tools see the parameters; None where it could not suggest them.

    Only what is searched stands in it: in a study that searches no image size, Optuna knows of none.
    """
    if parameters is None or not is_inside(parameters, distributions):
        return None
    suggested = parameters.to_suggested()
    return {name: suggested[name] for name in distributions}


def is_inside(parameters: Parameters, distributions: dict[str, BaseDistribution]) -> bool:
    """Return whether the sampler could have suggested these parameters; only then may they be enqueued."""
    suggested = parameters.to_suggested()
    return all(_contains(distribution, suggested.get(name)) for name, distribution in distributions.items())


def find_outside(fixed: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> list[str]:
    """Return which of the values that a trial was enqueued with are not searched, a reason each; empty if all are.

    Optuna would pass on a number that is too large with a warning, raise an error at a choice that there is not,
    and leave out a name that it does not know.

    Args:
        fixed: by name, as somebody gave them to Optuna's `enqueue_trial`.
        distributions: of the study.
    """
    unknown = [f"{name}, which this study does not search" for name in fixed if name not in distributions]
    return unknown + [
        f"{name} = {show_value(value)}, which is {_describe_range(distributions[name])}"
        for name, value in fixed.items()
        if name in distributions and not _contains(distributions[name], value)
    ]


def to_own_types(suggested: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Return values as their distributions give them: rank 4 where somebody enqueued 4.0."""
    return {
        name: distributions[name].to_external_repr(distributions[name].to_internal_repr(value))
        for name, value in suggested.items()
    }


def _describe_range(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return f"none of {', '.join(map(str, distribution.choices))}"
    kind = "whole number " if isinstance(distribution, IntDistribution) else ""
    low, high = (getattr(distribution, end) for end in ("low", "high"))
    return f"no {kind or 'number '}from {low:g} to {high:g}"


def _contains(distribution: BaseDistribution, value: object) -> bool:
    try:
        return is_contained(distribution, value)
    except (TypeError, ValueError):  # no number, or none of the choices
        return False


def build_sampler(search: SearchSection, study_name: str, worker: str) -> optuna.samplers.BaseSampler:
    """Return a sampler seeded by study and worker: with one seed for all, workers suggest the same first.

    TPE is univariate with the constant liar: on simulated studies of this space it had about half of the
    multivariate default's regret from 100 trials on.
    """
    seed = derive_seed("sampler", search.seed, study_name, worker)
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(
        n_startup_trials=search.startup_trials, multivariate=False, constant_liar=True, seed=seed
    )


def build_pruner(search: SearchSection) -> optuna.pruners.BasePruner:
    """Return successive halving, or what prunes nothing.

    The first eight trials that come to a rung end there, whatever their value: Optuna promotes nobody before so
    many can be compared (`bootstrap_count`). So it pays in long searches only. On simulated studies median pruning
    killed half of the trials that would have been among the best three; this one cut the regret by a fifth.
    """
    if search.pruner == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=2, bootstrap_count=8)
