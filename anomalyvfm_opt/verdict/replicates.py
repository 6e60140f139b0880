"""Replicates: more seeds of a parameter set on the search data. They tell noise from difference.

The baseline's are trained from the start: their spread is the noise floor of a study. The finalists' follow when
the search is over, and decide which of them is confirmed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.trial.seeds import derive_seed
from anomalyvfm_opt.verdict.noise import NoiseFloor, measure_noise
from anomalyvfm_opt.verdict.runs import Arm, Run, group_arms


@dataclass(frozen=True)
class Noise:
    """The noise floor of a study.

    Args:
        reference: what was retrained.
        scorer: that it is judged by.
        floor: how its values spread.
        open_seeds: retrainings that are planned or running; until they are done the floor may still move.
    """

    reference: str
    scorer: str
    floor: NoiseFloor
    open_seeds: int = 0


def name_baseline(study: StudyRecord) -> str:
    """Return the baseline by the name that it is run under: v1.2 is v1.1 in many categories."""
    names = study.spec.references_run(study.category)
    return names.get(study.spec.baseline, study.spec.baseline)


def name_noise_reference(study: StudyRecord) -> str | None:
    """Return the reference whose seeds make the noise floor: the baseline, or a trained one where that is frozen.

    None where no reference is trained.
    """
    names = study.spec.references_run(study.category)
    trained = [name for name in (name_baseline(study), *names.values()) if name != FROZEN]
    return trained[0] if trained else None


def list_reference_retrainings(study: StudyRecord, seeds: int) -> list[Planned]:
    """List the retrainings that a race and a confirmation stand on.

    These are the baseline under so many seeds, which give the noise floor, and once the frozen network, which
    draws nothing.
    """
    reference = name_noise_reference(study)
    trained = []
    if reference is not None:
        parameters = study.spec.reference(reference, study.category)
        trained = list_retrainings(study, {reference: parameters}, seeds)
    return trained + list_retrainings(study, {FROZEN: None}, 1)


def list_retrainings(study: StudyRecord, arms: Mapping[str, Parameters | None], seeds: int) -> list[Planned]:
    """List `seeds` retrainings of each arm on search data, the arms in turn."""
    return [
        Planned(
            arm=arm,
            parameters=parameters,
            seed=derive_seed("replicates", study.spec.search.seed, study.name, arm, index),
        )
        for index in range(seeds)
        for arm, parameters in arms.items()
    ]


def list_missing(wanted: Sequence[Planned], runs: Sequence[Run]) -> list[Planned]:
    """List those of the wanted retrainings that nobody has planned yet."""
    there = {run.planned.key for run in runs}
    return [planned for planned in wanted if planned.key not in there]


def find_noise(study: StudyRecord, runs: Sequence[Run]) -> Noise | None:
    """Find the noise floor in a study's replicates; None before two of its seeds are done."""
    reference = name_noise_reference(study)
    arm = group_arms(runs).get(reference or "")
    return None if arm is None or reference is None else judge_noise(study, reference, arm)


def judge_noise(study: StudyRecord, reference: str, arm: Arm) -> Noise | None:
    """Return the noise floor out of a reference's replicates; None with fewer than two."""
    scorer = arm.choose_scorer(study.spec.scoring.objective)
    step = max((run.auroc_step for run in arm.done), default=0.0)
    floor = measure_noise(arm.list_values(scorer), step) if scorer else None
    open_seeds = sum(run.is_open for run in arm.runs)
    return None if floor is None or scorer is None else Noise(reference, scorer, floor, open_seeds)
