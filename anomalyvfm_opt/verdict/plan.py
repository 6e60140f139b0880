"""What a spec says of a confirmation's terms, and the retrainings that follow from a plan."""

from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.confirmation_plan import ConfirmationPlan, Terms
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.trial.seeds import derive_seed


def list_trials(plan: ConfirmationPlan, spec: Spec, study_name: str, number: int) -> list[Planned]:
    """List the retrainings of a round, arms in turn. Each has a seed that no other arm, round or search has.

    Args:
        plan: of the round.
        spec: of the study.
        study_name: of the study that searched.
        number: of the round, from 1.
    """
    trials = []
    for index in range(plan.seeds):
        for name, arm in plan.arms.items():
            if arm.parameters is None and index > 0:
                continue  # it has nothing to draw
            seed = derive_seed("confirm", spec.search.seed, study_name, number, name, index)
            trials.append(Planned(arm=name, parameters=arm.parameters, seed=seed, round=number, scorer=arm.scorer))
    return trials


def set_terms(spec: Spec, judged: int) -> Terms:
    """Return the terms of a spec, whose categories are judged at once."""
    terms = spec.verdict
    return Terms(
        min_gain=terms.min_gain, confidence=terms.confidence, max_cost_ratio=terms.max_cost_ratio, judged=judged
    )
