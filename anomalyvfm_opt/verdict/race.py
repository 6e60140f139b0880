"""From all trials of a search to one finalist: a smoothed estimate first, then a race with fresh seeds.

The best trial is a lucky one. So the finalists are those that a regression over all trials thinks best, and the
winner is the one whose fresh seeds do best, on search data; the value that it was noticed for counts no more.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.verdict.encoding import round_parameters
from anomalyvfm_opt.verdict.runs import Arm, Run, group_arms
from anomalyvfm_opt.verdict.smoothing import Observed, Smoothed, Smoother, choose_finalists

_PREFIX = "trial "


@dataclass(frozen=True)
class Entrant:
    """A parameter set in the race.

    Args:
        number: of the trial that it was found by.
        parameters: of it.
        search_value: of that trial: one seed, and the best of several scorers.
        smoothed: what the regression over all trials expects of it, and the SD of that.
        scorer: that its fresh seeds are judged by.
        values: image AUROC of its fresh seeds, on search data.
    """

    number: int
    parameters: Parameters
    search_value: float
    smoothed: tuple[float, float]
    scorer: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Return the mean value of its fresh seeds."""
        return statistics.fmean(self.values)


def name_entrant(number: int) -> str:
    """Name the arm of a trial's replicates."""
    return f"{_PREFIX}{number}"


def list_rivals(study: StudyRecord, observed: Sequence[Observed]) -> list[Observed]:
    """Return the observed trials whose parameters are not the baseline's."""
    baseline = baseline_parameters(study)
    excluded = None if baseline is None else round_parameters(baseline)
    return [one for one in observed if round_parameters(one.parameters) != excluded]


def baseline_parameters(study: StudyRecord) -> Parameters | None:
    """Return the parameters of the baseline; None where that is frozen."""
    return study.spec.reference(study.spec.baseline, study.category)


def enter(study: StudyRecord, smoother: Smoother) -> dict[str, Parameters]:
    """Choose the finalists: arm -> parameters."""
    chosen = choose_finalists(smoother, study.spec.verdict.finalists, baseline_parameters(study))
    return {name_entrant(found.number): found.parameters for found in chosen}


def list_entrants(study: StudyRecord, smoother: Smoother, runs: Sequence[Run]) -> list[Entrant]:
    """List those in the race with at least one fresh seed done, best mean first.

    An arm of no observed trial, without parameters, or without a scorer that all of its seeds have, is none of
    ours: it does not race.
    """
    observed = {name_entrant(found.number): found for found in smoother.estimates}
    arms = group_arms(runs).items()
    entrants = [_to_entrant(study, smoother, observed[name], arm) for name, arm in arms if name in observed]
    return sorted(filter(None, entrants), key=lambda entrant: -entrant.mean)


def _to_entrant(study: StudyRecord, smoother: Smoother, found: Smoothed, arm: Arm) -> Entrant | None:
    scorer = arm.choose_scorer(study.spec.scoring.objective)
    if arm.parameters is None or scorer is None:
        return None
    return Entrant(
        number=found.number,
        parameters=arm.parameters,
        search_value=found.value,
        smoothed=smoother.predict(arm.parameters),
        scorer=scorer,
        values=arm.list_values(scorer),
    )
