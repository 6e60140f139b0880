"""The ledger of predictions over all studies: what was said before a lock was opened, and what was confirmed."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.confirmations import list_confirmations, name_person
from anomalyvfm_opt.store.looks import count_rounds
from anomalyvfm_opt.store.predictions import StoredPrediction, insert_predictions, list_predictions
from anomalyvfm_opt.store.siblings import find_sibling
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.verdict.decide import decide
from anomalyvfm_opt.verdict.evidence import NotConfirmedError, read_evidence
from anomalyvfm_opt.verdict.judge import compare_finalist
from anomalyvfm_opt.verdict.predictions import Judged, Prediction


@dataclass(frozen=True)
class Entry:
    """One prediction; `judged` is None until its round is confirmed."""

    made: StoredPrediction
    judged: Judged | None


def predict(engine: Engine, study: StudyRecord, gain: float, note: str, source: str | None = None) -> int:
    """Write a prediction down; the round that will answer it.

    Raises:
        UsageError: the locked images were opened already, or the study is a sibling.
    """
    if study.kind != "search":
        raise UsageError(f"{study.name} is a sibling study", f"predict for what it belongs to: {study.family}")
    if count_rounds(engine, study.name_sibling("confirm")):
        raise UsageError(
            f"the locked images of {study.name} have been opened: a prediction now could know the answer",
            f"what was predicted before: anomalyvfm-opt predictions {study.name}",
        )
    sibling = find_sibling(engine, study, "confirm")
    rounds = [] if sibling is None else list_confirmations(engine, sibling.study_id)
    number = rounds[-1].round if rounds else 1
    with engine.begin() as connection:
        insert_predictions(connection, study.study_id, number, [(source or name_person(), gain, note)])
    return number


def read_ledger(store: Store, studies: Sequence[StudyRecord]) -> list[Entry]:
    """The predictions for some studies, each with what was confirmed where that is known."""
    entries = []
    for study in studies:
        made = list_predictions(store.engine, study.study_id)
        found = {number: _find_gain(store, study, number) for number in {one.round for one in made}}
        entries += [Entry(one, _judge(one, found[one.round])) for one in made]
    return entries


def _find_gain(store: Store, study: StudyRecord, number: int) -> tuple[float, float, float] | None:
    """Estimate and interval of a round; None before it is over."""
    try:
        evidence = read_evidence(store, study, number)
    except NotConfirmedError:
        return None
    ruling = decide(compare_finalist(evidence), evidence.plan.terms, None, evidence.images.scene_counts)
    if ruling.estimate is None or ruling.low is None or ruling.high is None:
        return None
    return ruling.estimate, ruling.low, ruling.high


def _judge(made: StoredPrediction, found: tuple[float, float, float] | None) -> Judged | None:
    return None if found is None else Judged(Prediction(made.source, made.gain, made.note), *found)
