"""The draft of a confirmation: who won the race, what it is compared with, and what every source predicts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST, FROZEN_ARM, ArmPlan, ConfirmationPlan
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.verdict.plan import set_terms
from anomalyvfm_opt.verdict.predictions import RULE, Prediction, predict_by_rule
from anomalyvfm_opt.verdict.race import list_entrants, name_entrant
from anomalyvfm_opt.verdict.replicates import name_baseline
from anomalyvfm_opt.verdict.runs import Arm, Run, group_arms
from anomalyvfm_opt.verdict.smoothing import Smoother


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What of a plan does not follow from the trials.

    Args:
        seeds: retrainings of each trained arm.
        judged: how many categories are judged at once.
        chosen_by: `race`, or who named the finalist.
        reason: why a further confirmation was asked for.
    """

    seeds: int
    judged: int
    chosen_by: str
    reason: str


def draft_plan(
    study: StudyRecord,
    smoother: Smoother,
    runs: Sequence[Run],
    entering: Collection[str],
    circumstances: Circumstances,
) -> ConfirmationPlan:
    """Draft the plan of a confirmation: the race's winner is the finalist, search data choose the scorers.

    Args:
        study: that searched.
        smoother: of its trials.
        runs: replicates, all of which came to an end.
        entering: the arms that race.
        circumstances: what a person or the spec says.

    Raises:
        UsageError: no retraining of the finalists, or of what they are compared with, came to its end.
    """
    baseline = name_baseline(study)
    entrants = [e for e in list_entrants(study, smoother, runs) if name_entrant(e.number) in entering]
    entrants.sort(key=lambda entrant: -len(entrant.values))  # one that loses seeds wins by none that did not
    if not entrants:
        raise UsageError(
            f"no finalist of {study.name} could be retrained",
            f"look at what happened: anomalyvfm-opt study show {study.name_sibling('replicates')}",
        )
    winner, by_arm = entrants[0], group_arms(runs)
    arms = {
        FINALIST: ArmPlan(
            label=name_entrant(winner.number),
            parameters=winner.parameters,
            scorer=winner.scorer,
            search_values=winner.values,
        ),
        BASELINE: _plan_reference(study, baseline, by_arm),
    }
    if baseline != FROZEN:
        arms[FROZEN_ARM] = _plan_reference(study, FROZEN, by_arm)
    return ConfirmationPlan(
        arms=arms,
        seeds=circumstances.seeds,
        terms=set_terms(study.spec, circumstances.judged),
        chosen_by=circumstances.chosen_by,
        search_value=winner.search_value,
        smoothed=winner.smoothed,
        entrants={name_entrant(entrant.number): entrant.mean for entrant in entrants},
        reason=circumstances.reason,
    )


def foretell(study: StudyRecord, plan: ConfirmationPlan, smoother: Smoother) -> tuple[Prediction, ...]:
    """Return what each source says before the lock is opened.

    `best trial` is what people believe without a race.

    Args:
        study: that searched.
        plan: of the confirmation.
        smoother: of the study's trials.
    """
    finalist, baseline = plan.arms[FINALIST], plan.arms[BASELINE]
    standing = sum(baseline.search_values) / len(baseline.search_values)
    if finalist.parameters is None or baseline.parameters is None:
        smoothed = plan.smoothed[0] - standing
    else:
        smoothed = smoother.difference(finalist.parameters, baseline.parameters)[0]
    best = max(observed.value for observed in smoother.estimates)
    race = plan.entrants[finalist.label] - standing
    rule = predict_by_rule(study.category)
    return (
        Prediction(
            "best trial", best - standing, "best value of the search minus the baseline's mean on search data"
        ),
        Prediction("smoothed", smoothed, "regression over all trials"),
        Prediction("race", race, "fresh seeds on search data, finalist minus baseline"),
        Prediction(RULE, rule, "of the first experiment, for its own setting"),
    )


def _plan_reference(study: StudyRecord, name: str, arms: Mapping[str, Arm]) -> ArmPlan:
    arm = arms[name]
    scorer = arm.choose_scorer(study.spec.scoring.objective)
    if scorer is None:
        raise UsageError(
            f"no replicate of {name} in {study.name} came to its end: nothing can be compared with it",
            f"look at what happened: anomalyvfm-opt study show {study.name_sibling('replicates')}",
        )
    return ArmPlan(label=name, parameters=arm.parameters, scorer=scorer, search_values=arm.list_values(scorer))
