"""Replicates: more seeds of a parameter set on the search data. They tell noise from difference.

The baseline's are trained from the start: their spread is the noise floor of a study. The finalists' follow when
the search is over, and decide which of them is confirmed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import FROZEN, distinct_references, reference_parameters
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.siblings import find_sibling, plan_trials
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.trial.seeds import derive_seed
from anomalyvfm_opt.verdict.noise import NoiseFloor, measure_noise
from anomalyvfm_opt.verdict.runs import Arm, Run, group_arms, list_runs


@dataclass(frozen=True)
class Noise:
    """The noise floor of a study: what was retrained, by which scorer it is judged, and how its values spread."""

    reference: str
    scorer: str
    floor: NoiseFloor


def name_baseline(study: StudyRecord) -> str:
    """The baseline, by the name that it is run under: v1.2 is v1.1 in many categories."""
    names = distinct_references(study.spec.references, study.category)
    return names.get(study.spec.baseline, study.spec.baseline)


def name_noise_reference(study: StudyRecord) -> str | None:
    """The reference whose seeds make the noise floor: the baseline, or where that is frozen a trained one."""
    names = distinct_references(study.spec.references, study.category)
    trained = [name for name in (name_baseline(study), *names.values()) if name != FROZEN]
    return trained[0] if trained else None


def plan_references(store: Store, study: StudyRecord, seeds: int) -> int:
    """Plan what a race and a confirmation stand on; how many are new.

    That is the baseline under so many seeds, the noise floor, and once the frozen network, which draws nothing.
    """
    reference = name_noise_reference(study)
    planned = 0
    if reference is not None:
        parameters = reference_parameters(reference, study.category, study.spec.reference_size_px)
        planned = plan_replicates(store, study, {reference: parameters}, seeds)
    return planned + plan_replicates(store, study, {FROZEN: None}, 1)


def plan_replicates(store: Store, study: StudyRecord, arms: dict[str, Parameters | None], seeds: int) -> int:
    """Plan `seeds` retrainings of each arm on search data; how many are new. Arms that have more keep them."""
    from anomalyvfm_opt.trial.space import (  # here, because reports need no Optuna
        fix_parameters,
        list_distributions,
    )

    distributions = list_distributions(study.spec.search.space)
    trials = [
        Planned(arm, parameters, derive_seed("replicates", study.spec.search.seed, study.name, arm, index))
        for index in range(seeds)
        for arm, parameters in arms.items()
    ]
    fixed = [(planned, fix_parameters(planned.parameters, distributions) or {}) for planned in trials]
    return plan_trials(store, study, "replicates", fixed)


def list_replicates(store: Store, study: StudyRecord) -> list[Run]:
    """The runs of a study's `#replicates`; none if there is no such study."""
    sibling = find_sibling(store.engine, study, "replicates")
    return [] if sibling is None else list_runs(store, sibling)


def find_noise(study: StudyRecord, runs: Sequence[Run]) -> Noise | None:
    """The noise floor, once two of its seeds are done."""
    reference = name_noise_reference(study)
    arm = group_arms(runs).get(reference or "")
    return None if arm is None or reference is None else judge_noise(study, reference, arm)


def judge_noise(study: StudyRecord, reference: str, arm: Arm) -> Noise | None:
    """The noise floor out of a reference's replicates; None with fewer than two."""
    scorer = arm.choose_scorer(study.spec.scoring.objective)
    floor = measure_noise(arm.list_values(scorer)) if scorer else None
    return None if floor is None or scorer is None else Noise(reference, scorer, floor)
