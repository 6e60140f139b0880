"""The ledger of predictions over all studies: what was said before a lock was opened, and what was confirmed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.predictions import StoredPrediction
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.verdict.decide import decide
from anomalyvfm_opt.verdict.evidence import Evidence
from anomalyvfm_opt.verdict.judge import compare_finalist
from anomalyvfm_opt.verdict.predictions import Judged, Prediction


@dataclass(frozen=True)
class Entry:
    """One prediction; `judged` is None until its round is confirmed."""

    made: StoredPrediction
    judged: Judged | None


def judge_entries(made: Sequence[StoredPrediction], evidence: Mapping[int, Evidence]) -> list[Entry]:
    """Hold the predictions of one study against what its rounds brought in.

    Args:
        made: in the order in which they are to be shown.
        evidence: of the rounds that are over, by number.
    """
    gains = {number: _find_gain(found) for number, found in evidence.items()}
    return [Entry(one, _judge(one, gains.get(one.round))) for one in made]


def number_answer(study: StudyRecord, last_look: int, last_round: int) -> int:
    """Return the number of the round that will answer a prediction which is made now.

    Args:
        study: that it is about.
        last_look: the last round in which its locked images were looked at; 0 for none.
        last_round: the last round that is planned; 0 for none.

    Raises:
        UsageError: the locked images were opened already, or the study is a sibling.
    """
    if study.kind != "search":
        raise UsageError(f"{study.name} is a sibling study", f"predict for what it belongs to: {study.family}")
    if last_look:
        raise UsageError(
            f"the locked images of {study.name} have been opened: a prediction now could know the answer",
            f"what was predicted before: anomalyvfm-opt forecast list {study.name}",
        )
    return last_round or 1


def _find_gain(evidence: Evidence) -> tuple[float, float, float] | None:
    """Return estimate and interval of a round; None where nothing can be said."""
    ruling = decide(compare_finalist(evidence), evidence.plan.terms, None, evidence.images.scene_counts)
    if ruling.estimate is None or ruling.low is None or ruling.high is None:
        return None
    return ruling.estimate, ruling.low, ruling.high


def _judge(made: StoredPrediction, found: tuple[float, float, float] | None) -> Judged | None:
    if found is None:
        return None
    estimate, low, high = found
    return Judged(Prediction(made.source, made.gain, made.note), confirmed=estimate, low=low, high=high)
