"""From all trials of a search to one finalist: a smoothed estimate first, then a race with fresh seeds.

The best trial is a lucky one. So the finalists are those that a regression over all trials thinks best, and the
winner is the one whose fresh seeds do best, on search data; the value that it was noticed for counts no more.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from anomalyvfm_opt.evaluation.linter.findings import Finding, is_unsound
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.trials import TrialState, list_trials
from anomalyvfm_opt.verdict.encoding import round_parameters
from anomalyvfm_opt.verdict.runs import Arm, Run, group_arms
from anomalyvfm_opt.verdict.smoothing import Observed, Smoother, choose_finalists, smooth

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
        """Of its fresh seeds."""
        return statistics.fmean(self.values)


def name_entrant(number: int) -> str:
    """The arm of a trial's replicates."""
    return f"{_PREFIX}{number}"


def list_observed(store: Store, study: StudyRecord) -> list[Observed]:
    """All trials that have parameters and a value that can be trusted."""
    trials = list_trials(store.engine, study.study_id)
    return [
        Observed(trial.number, Parameters.from_json(trial.user_attrs["parameters"]), trial.value)
        for trial in trials
        if trial.state is TrialState.COMPLETE
        and trial.value is not None
        and "parameters" in trial.user_attrs
        and not is_unsound([Finding.from_stored(found) for found in trial.user_attrs.get("findings", ())])
    ]


def list_rivals(store: Store, study: StudyRecord) -> list[Observed]:
    """Those whose parameters are not the baseline's."""
    baseline = baseline_parameters(study)
    excluded = None if baseline is None else round_parameters(baseline)
    return [one for one in list_observed(store, study) if round_parameters(one.parameters) != excluded]


def baseline_parameters(study: StudyRecord) -> Parameters | None:
    """Of the baseline; None where that is frozen."""
    return reference_parameters(study.spec.baseline, study.category, study.spec.reference_size_px)


def smooth_study(store: Store, study: StudyRecord, noise_sd: float | None) -> Smoother:
    """The regression over a study's trials, of which there is at least one."""
    return smooth(list_observed(store, study), noise_sd)


def enter(study: StudyRecord, smoother: Smoother) -> dict[str, Parameters]:
    """The finalists: arm -> parameters."""
    chosen = choose_finalists(smoother, study.spec.verdict.finalists, baseline_parameters(study))
    return {name_entrant(found.number): found.parameters for found in chosen}


def list_entrants(study: StudyRecord, smoother: Smoother, runs: Sequence[Run]) -> list[Entrant]:
    """Those in the race with at least one fresh seed done, best mean first."""
    observed = {found.number: found for found in smoother.estimates}
    entrants = [
        _to_entrant(study, smoother, observed[int(name.removeprefix(_PREFIX))].value, arm)
        for name, arm in group_arms(runs).items()
        if name.startswith(_PREFIX) and arm.done
    ]
    return sorted(entrants, key=lambda entrant: -entrant.mean)


def _to_entrant(study: StudyRecord, smoother: Smoother, search_value: float, arm: Arm) -> Entrant:
    scorer = arm.choose_scorer(study.spec.scoring.objective)
    if arm.parameters is None or scorer is None:
        raise ValueError(f"{arm.name} has no parameters or no scorer")
    return Entrant(
        number=int(arm.name.removeprefix(_PREFIX)),
        parameters=arm.parameters,
        search_value=search_value,
        smoothed=smoother.predict(arm.parameters),
        scorer=scorer,
        values=arm.list_values(scorer),
    )
