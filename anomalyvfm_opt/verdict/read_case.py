"""Read the case of a category, or of all categories of a spec, as judging takes it. Nothing is decided here."""

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import Engine

from anomalyvfm_opt.data.records import BAD, GOOD
from anomalyvfm_opt.evaluation.au_pro_resample import AU_PRO
from anomalyvfm_opt.store.confirmation_plan import ArmPlan, ConfirmationPlan
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.store.looks import list_openings, list_searches_on_locked
from anomalyvfm_opt.store.predictions import list_predictions
from anomalyvfm_opt.store.scores import read_all_scores, read_metrics, read_resampled
from anomalyvfm_opt.store.siblings import find_sibling
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.trials import list_trials
from anomalyvfm_opt.verdict.evidence import (
    ArmEvidence,
    Case,
    Evidence,
    LockedImages,
    NotConfirmedError,
    Spent,
    explain_unreadable,
)
from anomalyvfm_opt.verdict.read_confirmation import list_rounds
from anomalyvfm_opt.verdict.read_trials import list_observed, list_runs, list_sibling_runs
from anomalyvfm_opt.verdict.runs import Arm, group_arms
from anomalyvfm_opt.words import counted


def read_cases(store: Store, studies: Sequence[StudyRecord], number: int | None = None) -> list[Case]:
    """Read the cases of all categories of a spec.

    Args:
        store: the study store.
        studies: all of the spec.
        number: of the round; None for the latest of each.

    Raises:
        NotConfirmedError: a category is missing, or not confirmed; a mean over the others would be a choice.
    """
    name, expected = studies[0].spec.name, max(study.judged or 0 for study in studies)
    missing: list[str] = []
    cases: list[Case] = []
    for study in studies:
        try:
            cases.append(read_case(store, study, number))
        except NotConfirmedError as error:
            missing.append(error.message)
    if missing:
        of_all = f"{len(missing)} of {counted(len(studies), 'category')} of {name} not confirmed: "
        raise NotConfirmedError((of_all if len(studies) > 1 else "") + "; ".join(missing), _advise(name))
    if len(studies) < expected:
        raise NotConfirmedError(
            f"the mean gain of {name} is over {expected} categories, and {len(studies)} of them have a study",
            f"create the others as well, or ask for one category: anomalyvfm-opt verdict {studies[0].name}",
        )
    return cases


def read_case(store: Store, study: StudyRecord, number: int | None = None) -> Case:
    """Read the case of one study, from a round of its confirmation; the latest where none is named.

    Raises:
        NotConfirmedError: there is none, or its trainings are not over.
    """
    return Case(
        evidence=read_evidence(store, study, number),
        spent=Spent(
            search_s=_sum_seconds(store, study),
            race_s=_sum_seconds(store, find_sibling(store.engine, study, "replicates")),
            confirmation_s=_sum_seconds(store, find_sibling(store.engine, study, "confirm")),
        ),
        replicates=tuple(list_sibling_runs(store, study, "replicates")),
        observed=tuple(list_observed(store, study)),
        openings=tuple(list_openings(store.engine, study.study_id)),
        searched_on=list_searches_on_locked(store.engine, study.study_id),
        predictions=tuple(list_predictions(store.engine, study.study_id)),
    )


def read_evidence(store: Store, study: StudyRecord, number: int | None = None) -> Evidence:
    """Read a round of a study's confirmation; the latest where none is named.

    Raises:
        NotConfirmedError: there is none, its trainings are not over, or what is stored of it cannot be read.
    """
    try:
        return _read_evidence(store, study, number)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise explain_unreadable(study.name, error) from error


def _advise(name: str) -> str:
    return f"when the search is over: anomalyvfm-opt confirm {name} --workers 2, or without them where others run"


def _read_evidence(store: Store, study: StudyRecord, number: int | None) -> Evidence:
    hint = _advise(study.name)
    sibling = find_sibling(store.engine, study, "confirm")
    rounds = list_rounds(store.engine, study)
    chosen = [one for one in rounds if number in (None, one.round)]
    if sibling is None or not chosen:
        what = "is not confirmed yet" if number is None else f"has no round {number} of confirmation"
        raise NotConfirmedError(f"{study.name} {what}", hint)
    stored = chosen[-1]
    plan = ConfirmationPlan.from_json(stored.plan, study.spec.data.image_size_px)
    runs = [run for run in list_runs(store, sibling) if run.planned.round == stored.round]
    still_open = sum(run.is_open for run in runs)
    if still_open:
        raise NotConfirmedError(
            f"{still_open} of {counted(len(runs), 'training')} of {sibling.name} not done yet", hint
        )
    images = _list_locked(store.engine, sibling.study_id)
    scores = read_all_scores(store.engine, sibling.study_id)
    arms = group_arms(runs)
    return Evidence(
        study=study,
        stored=stored,
        rounds=rounds[-1].round,
        plan=plan,
        images=images,
        arms={name: _read_arm(store.engine, plan.arms[name], arms[name], images, scores) for name in plan.arms},
    )


def _sum_seconds(store: Store, record: StudyRecord | None) -> float:
    """Add up the durations of a study's trials that have ended; 0 where there is no study."""
    if record is None:
        return 0.0
    ended = [trial for trial in list_trials(store.engine, record.study_id) if trial.state.is_finished()]
    return sum(trial.duration.total_seconds() for trial in ended if trial.duration is not None)


def _list_locked(engine: Engine, study_id: int) -> LockedImages:
    locked = [image for _, image in sorted(list_images(engine, study_id).items()) if image.role == "locked"]
    return LockedImages(
        keys=tuple(image.image_key for image in locked),
        labels=np.array([{GOOD: 0, BAD: 1}[image.label] for image in locked], dtype=np.int64),
        scenes=tuple(image.scene for image in locked),
        lights=tuple(image.light for image in locked),
    )


def _read_arm(
    engine: Engine, plan: ArmPlan, arm: Arm, images: LockedImages, scores: Mapping[int, Mapping[str, float]]
) -> ArmEvidence:
    done = arm.done
    metrics = [read_metrics(engine, run.trial_id)[plan.scorer] for run in done]
    draws = [read_resampled(engine, run.trial_id, AU_PRO) for run in done]
    rows = [[scores[run.trial_id][key] for key in images.keys] for run in done]
    return ArmEvidence(
        plan=plan,
        runs=arm,
        scores=np.array(rows, dtype=np.float64).reshape(len(done), len(images.keys)),
        values=np.array([one.image_auroc for one in metrics]),
        au_pro=_stack([one.au_pro_005 for one in metrics]),
        au_pro_draws=_stack(draws),
    )


def _stack(values: Sequence[float | np.ndarray | None]) -> np.ndarray | None:
    known = [value for value in values if value is not None]
    return np.array(known, dtype=np.float64) if known and len(known) == len(values) else None
