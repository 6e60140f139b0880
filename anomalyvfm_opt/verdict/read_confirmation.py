"""Read where the confirmation of a study stands. Nothing is decided here."""

from sqlalchemy import Engine

from anomalyvfm_opt.spec.study_name import StudyName
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.confirmations import StoredConfirmation, list_confirmations, name_person
from anomalyvfm_opt.store.looks import count_rounds
from anomalyvfm_opt.store.siblings import find_sibling
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord, count_categories
from anomalyvfm_opt.store.study_state import read_state
from anomalyvfm_opt.verdict.next_step import ConfirmationState
from anomalyvfm_opt.verdict.read_trials import list_observed, list_sibling_runs


def read_confirmation(store: Store, study: StudyRecord, *, is_further: bool) -> ConfirmationState:
    """Read all that the next step of a study's confirmation depends on.

    Args:
        store: the study store.
        study: that searches.
        is_further: whether a further round is asked for. If not, a confirmation that has a plan is only followed:
            the trials that led to it are not read, since this is called every few seconds.
    """
    rounds = list_rounds(store.engine, study)  # before the runs: a round is written together with its trials
    is_followed = bool(rounds) and not is_further
    return ConfirmationState(
        study=study,
        usage=count_usage(store.engine, study.study_id),
        is_stopped=read_state(store.engine, study.study_id).name == "stopped",
        rounds=tuple(rounds),
        last_look=count_rounds(store.engine, str(StudyName.parse(study.name).sibling("confirm"))),
        confirm_runs=tuple(list_sibling_runs(store, study, "confirm")),
        replicates=() if is_followed else tuple(list_sibling_runs(store, study, "replicates")),
        observed=() if is_followed else tuple(list_observed(store, study)),
        judged=study.judged or count_categories(store.engine, study.spec.name),
        person=name_person(),
    )


def list_rounds(engine: Engine, study: StudyRecord) -> list[StoredConfirmation]:
    """Read the rounds of a study's confirmation, earliest first; none before the first plan."""
    sibling = find_sibling(engine, study, "confirm")
    return [] if sibling is None else list_confirmations(engine, sibling.study_id)
