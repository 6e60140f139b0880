"""Read and write the ledger of predictions; what becomes of them is judged in verdict/ledger.py."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Engine

from anomalyvfm_opt.spec.study_name import StudyName
from anomalyvfm_opt.store.confirmations import name_person
from anomalyvfm_opt.store.looks import count_rounds
from anomalyvfm_opt.store.predictions import insert_predictions, list_predictions
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.verdict.evidence import Evidence, NotConfirmedError
from anomalyvfm_opt.verdict.ledger import Entry, judge_entries, number_answer
from anomalyvfm_opt.verdict.read_case import read_evidence
from anomalyvfm_opt.verdict.read_confirmation import list_rounds


def predict(engine: Engine, study: StudyRecord, gain: float, note: str, source: str | None = None) -> int:
    """Write a prediction down, and return the number of the round that will answer it.

    Raises:
        UsageError: the locked images were opened already, or the study is a sibling.
    """
    last_look = count_rounds(engine, str(StudyName.parse(study.name).sibling("confirm")))
    rounds = list_rounds(engine, study)
    number = number_answer(study, last_look, rounds[-1].round if rounds else 0)
    with engine.begin() as connection:
        insert_predictions(connection, study.study_id, number, [(source or name_person(), gain, note)])
    return number


def read_ledger(store: Store, studies: Sequence[StudyRecord]) -> list[Entry]:
    """Return the predictions for some studies, each with what was confirmed where that is known."""
    entries = []
    for study in studies:
        made = list_predictions(store.engine, study.study_id)
        entries += judge_entries(made, _read_rounds(store, study, {one.round for one in made}))
    return entries


def _read_rounds(store: Store, study: StudyRecord, numbers: Iterable[int]) -> dict[int, Evidence]:
    """Read what these rounds brought in, but for those that are not over."""
    found = {}
    for number in numbers:
        try:
            found[number] = read_evidence(store, study, number)
        except NotConfirmedError:
            continue
    return found
