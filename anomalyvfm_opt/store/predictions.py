"""Predictions of a gain, written down before it is confirmed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from anomalyvfm_opt.store.confirmations import name_person

_INSERT = text("""
    INSERT INTO anomalyvfm_opt.prediction (study_id, source, round, gain, note, made_by)
    VALUES (:study_id, :source, :round, :gain, :note, :made_by)
""")
_LIST = text("""
    SELECT s.study_name, p.source, p.round, p.gain, p.note, p.made_at, p.made_by
      FROM anomalyvfm_opt.prediction p JOIN studies s ON s.study_id = p.study_id
     WHERE CAST(:study_id AS integer) IS NULL OR p.study_id = :study_id ORDER BY p.made_at, p.source
""")


@dataclass(frozen=True)
class StoredPrediction:
    """One source's word on the gain that a round of a study's confirmation will find (image AUROC)."""

    study_name: str
    source: str
    round: int
    gain: float
    note: str
    made_at: datetime
    made_by: str


def insert_predictions(
    connection: Connection, study_id: int, number: int, predictions: Iterable[tuple[str, float, str]]
) -> None:
    """Write predictions down, in the caller's transaction.

    Args:
        connection: of the transaction.
        study_id: of the study that searches.
        number: of the round that will answer them.
        predictions: source, gain and note of each.
    """
    for source, gain, note in predictions:
        values = {"source": source, "gain": gain, "note": note, "made_by": name_person()}
        connection.execute(_INSERT, {"study_id": study_id, "round": number, **values})


def list_predictions(engine: Engine, study_id: int | None = None) -> list[StoredPrediction]:
    """Return predictions of a study, or of all, earliest first."""
    with engine.connect() as connection:
        return [StoredPrediction(**row._asdict()) for row in connection.execute(_LIST, {"study_id": study_id})]
