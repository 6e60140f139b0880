"""Which trial of a study is delivered, and why that one."""

from dataclasses import dataclass
from typing import Literal

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.report.summary import summarise
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.store.confirmation_plan import FINALIST, ArmPlan, ConfirmationPlan
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.store.trials import StoredTrial, TrialState, list_noted
from anomalyvfm_opt.verdict.evidence import explain_unreadable
from anomalyvfm_opt.verdict.read_confirmation import list_rounds
from anomalyvfm_opt.verdict.replicates import name_baseline

Wanted = int | Literal["baseline", "frozen"] | None
"""A trial's number, a reference, or None for the finalist, else the best."""

_IN_WORDS = {
    TrialState.RUNNING: "still running",
    TrialState.PRUNED: "pruned: it was ended early",
    TrialState.FAIL: "not complete: it failed or was given back",
    TrialState.WAITING: "still waiting",
}
_KEYS = ("reference", "parameters", "training_seed", "scorer", "device", "dtype", "threads", "versions")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A complete trial of a study.

    Args:
        trial: as it is stored.
        record: what is stored with it.
        parameters: None for the frozen network.
        scorer: that its score is given by.
        reason: why this one, for people.
    """

    trial: StoredTrial
    record: TrialRecord
    parameters: Parameters | None
    scorer: str
    reason: str


def choose_trial(store: Store, study: StudyRecord, wanted: Wanted, scorer: str | None) -> Choice:
    """Choose the trial to deliver.

    Args:
        store: the study store.
        study: that searches.
        wanted: which trial; None for the finalist of the last confirmation, else the best.
        scorer: that scores are to be given by; None for the one that the trial was judged by.

    Raises:
        UsageError: there is no such trial, or it is not complete.
    """
    if study.kind != "search":
        raise UsageError(
            f"{study.name} is no study that searches: its trials are retrainings", f"give {study.family}"
        )
    trials = {t.number: t for t in list_noted(store.engine, [study.study_id], _KEYS).get(study.study_id, ())}
    if isinstance(wanted, int):
        return _pick(study, trials, wanted, scorer, "as asked for")
    if wanted is not None:
        name = FROZEN if wanted == "frozen" else name_baseline(study)
        why = "the frozen network" if wanted == "frozen" else f"the baseline, {name}"
        return _pick(study, trials, _find_reference(study, trials, name), scorer, why)
    finalist = _find_finalist(store, study, trials)
    if finalist is not None:
        number, judged_by, round_number = finalist
        reason = f"the finalist of confirmation round {round_number}"
        return _pick(study, trials, number, scorer or judged_by, reason)
    best = summarise(store, study).best
    if best is None:
        raise UsageError(
            f"{study.name} has no complete trial whose value can be trusted",
            f"run some: anomalyvfm-opt worker run {study.name}",
        )
    return _pick(study, trials, best.number, scorer, "the best trial, which no confirmation has judged")


def read_finalist(store: Store, study: StudyRecord) -> tuple[ArmPlan, int] | None:
    """Return what the last confirmation of a study judges, and which round that is; None without one.

    Raises:
        NotConfirmedError: what is stored of it cannot be read.
    """
    rounds = list_rounds(store.engine, study)
    if not rounds:
        return None
    try:
        plan = ConfirmationPlan.from_json(rounds[-1].plan, study.spec.data.image_size_px)
    except ValueError as error:
        raise explain_unreadable(study.name, error) from error
    return plan.arms[FINALIST], rounds[-1].round


def _find_finalist(
    store: Store, study: StudyRecord, trials: dict[int, StoredTrial]
) -> tuple[int, str, int] | None:
    """Return number, scorer and round of the trial whose parameters the last confirmation judged."""
    found = read_finalist(store, study)
    if found is None:
        return None
    arm, round_number = found
    own_size_px = study.spec.data.image_size_px
    same = [
        trial
        for trial in trials.values()
        if trial.state is TrialState.COMPLETE
        and TrialRecord.from_attributes(trial.user_attrs).read_parameters(own_size_px) == arm.parameters
    ]
    if not same:
        raise UsageError(
            f"the finalist of {study.name}, {arm.label}, is no complete trial of it any more",
            "name one: --trial N",
        )
    return max(same, key=lambda trial: trial.value or 0.0).number, arm.scorer, round_number


def _find_reference(study: StudyRecord, trials: dict[int, StoredTrial], name: str) -> int:
    found = [
        trial.number
        for trial in trials.values()
        if trial.state is TrialState.COMPLETE and trial.user_attrs.get("reference") == name
    ]
    if not found:
        raise UsageError(
            f"{study.name} has no complete trial of {name}",
            f"run it: anomalyvfm-opt worker run {study.name}",
        )
    return max(found)


def _pick(
    study: StudyRecord, trials: dict[int, StoredTrial], number: int, scorer: str | None, reason: str
) -> Choice:
    trial = trials.get(number)
    if trial is None:
        known = f"0 to {max(trials)}" if trials else "none yet"
        raise UsageError(f"{study.name} has no trial {number}", f"its trials: {known}")
    if trial.state is not TrialState.COMPLETE:
        raise UsageError(
            f"trial {number} of {study.name} is {_IN_WORDS[trial.state]}, so there is no detector of it",
            "name one that is complete",
        )
    record = TrialRecord.from_attributes(trial.user_attrs)
    chosen = scorer or record.scorer
    if not chosen:
        raise UsageError(f"trial {number} of {study.name} does not say its scorer", "give one: --scorer NAME")
    return Choice(
        trial=trial,
        record=record,
        parameters=record.read_parameters(study.spec.data.image_size_px),
        scorer=chosen,
        reason=reason,
    )
