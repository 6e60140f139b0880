"""Read the trials of a study and of its siblings, as judging takes them. Nothing is decided here."""

from collections.abc import Mapping, Sequence

from anomalyvfm_opt.evaluation.linter.findings import is_unsound
from anomalyvfm_opt.spec.study_name import Kind
from anomalyvfm_opt.store.outcomes import read_final_outcomes
from anomalyvfm_opt.store.planned import Key, Planned
from anomalyvfm_opt.store.scores import count_pairs, read_aurocs
from anomalyvfm_opt.store.siblings import find_sibling
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.store.trials import StoredTrial, TrialState, is_auroc, list_noted, list_trials
from anomalyvfm_opt.verdict.runs import Run
from anomalyvfm_opt.verdict.smoothing import Observed


def list_runs(store: Store, record: StudyRecord) -> list[Run]:
    """Read the planned trials of a sibling, each by its last try, in the order in which they were planned."""
    outcomes = read_final_outcomes(store.engine, [record.study_id])
    trials = list_trials(store.engine, record.study_id)
    aurocs = read_aurocs(store.engine, [record.study_id])  # last: a trial that was seen complete has its scores
    pairs = count_pairs(store.engine, [record.study_id])
    return _pair_up(record, trials, outcomes, aurocs, pairs)


def list_runs_of(store: Store, records: Sequence[StudyRecord]) -> dict[int, list[Run]]:
    """Read the same of several siblings, by their ids, in four statements; of the records only the plan."""
    ids = [record.study_id for record in records]
    outcomes = read_final_outcomes(store.engine, ids)
    trials = list_noted(store.engine, ids, ("planned",))
    aurocs, pairs = read_aurocs(store.engine, ids), count_pairs(store.engine, ids)
    return {
        record.study_id: _pair_up(record, trials.get(record.study_id, ()), outcomes, aurocs, pairs)
        for record in records
    }


def _pair_up(
    record: StudyRecord,
    trials: Sequence[StoredTrial],
    outcomes: Mapping[int, str],
    aurocs: Mapping[int, Mapping[str, float]],
    pairs: Mapping[int, int],
) -> list[Run]:
    """Return the runs of a sibling's trials, which come in the order of their ids."""
    last: dict[Key, tuple[Planned, TrialRecord, StoredTrial]] = {}
    for trial in trials:
        stored = TrialRecord.from_attributes(trial.user_attrs)
        planned = stored.read_planned(record.spec.data.image_size_px)
        if planned is not None:
            last[planned.key] = (planned, stored, trial)  # a retry has a higher number
    return [
        Run(
            planned=planned,
            number=trial.number,
            trial_id=trial.trial_id,
            is_done=trial.state is TrialState.COMPLETE,
            outcome=outcomes.get(trial.trial_id),
            record=stored,
            aurocs=aurocs.get(trial.trial_id, {}),
            auroc_step=1 / pairs[record.study_id] if record.study_id in pairs else 0.0,
        )
        for planned, stored, trial in last.values()
    ]


def list_sibling_runs(store: Store, study: StudyRecord, kind: Kind) -> list[Run]:
    """Read the runs of a study's sibling; none if there is no such study."""
    sibling = find_sibling(store.engine, study, kind)
    return [] if sibling is None else list_runs(store, sibling)


def list_observed(store: Store, study: StudyRecord) -> list[Observed]:
    """Read all trials of a study that have parameters and a value that can be trusted."""
    found = []
    for trial in list_noted(store.engine, [study.study_id], ("parameters", "findings")).get(study.study_id, ()):
        if trial.state is TrialState.COMPLETE and trial.value is not None and is_auroc(trial.value):
            record = TrialRecord.from_attributes(trial.user_attrs)
            parameters = record.read_parameters(study.spec.data.image_size_px)
            if parameters is not None and not is_unsound(record.read_findings()):
                found.append(Observed(trial.number, parameters, trial.value))
    return found
