"""Write down what was decided: replicates, and a round of a confirmation. Nothing is decided here."""

from collections.abc import Sequence

from sqlalchemy import Connection

from anomalyvfm_opt.store.confirmations import insert_confirmation
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.predictions import insert_predictions
from anomalyvfm_opt.store.siblings import Fixed, plan_trials
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.trial.space import fix_parameters, list_distributions
from anomalyvfm_opt.verdict.next_step import PlanRound
from anomalyvfm_opt.verdict.plan import list_trials
from anomalyvfm_opt.verdict.replicates import list_reference_retrainings


def plan_references(store: Store, study: StudyRecord, seeds: int) -> int:
    """Plan the baseline under so many seeds, and the frozen network; return how many are new."""
    return plan_replicates(store, study, list_reference_retrainings(study, seeds))


def plan_replicates(store: Store, study: StudyRecord, retrainings: Sequence[Planned]) -> int:
    """Plan retrainings on search data; return how many are new. Those that are there are left alone."""
    return plan_trials(store, study, "replicates", _fix(study, retrainings))


def plan_round(store: Store, study: StudyRecord, step: PlanRound) -> int:
    """Write a round's plan and predictions and plan its trials, in one transaction.

    Returns:
        How many trials are new: none where somebody else was first, whose plan stays.
    """
    trials = list_trials(step.plan, study.spec, study.name, step.number)
    predictions = [(one.source, one.gain, one.note) for one in step.predictions]

    def write(connection: Connection, sibling_id: int) -> bool:
        is_first = insert_confirmation(connection, sibling_id, step.number, step.plan.to_json())
        if is_first:
            insert_predictions(connection, study.study_id, step.number, predictions)
        return is_first

    return plan_trials(store, study, "confirm", _fix(study, trials), write)


def _fix(study: StudyRecord, trials: Sequence[Planned]) -> Fixed:
    """Add the parameters as Optuna knows them; none where it cannot hold them."""
    distributions = list_distributions(study.spec.search.space)
    return [(planned, fix_parameters(planned.parameters, distributions) or {}) for planned in trials]
