"""Metrics, per-image scores and files of trials, so that later steps compare trials without retraining."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from sqlalchemy import Engine, Table, select, text
from sqlalchemy.dialects import postgresql

from anomalyvfm_opt.evaluation.metrics import Metrics
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.artifacts import Artifact
from anomalyvfm_opt.store.engine import autocommit


def _insert_columns(table: Table) -> str:
    """Return an INSERT that takes the rows of a table column by column, each an array named `<table>_<column>`."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    names = [column.name for column in table.columns]
    arrays = [f"CAST(:{table.name}_{column.name} AS {column.type.compile(dialect)}[])" for column in table.columns]
    return f"INSERT INTO {table.fullname} ({', '.join(names)}) SELECT * FROM unnest({', '.join(arrays)})"  # noqa: S608


_DELETE = """
    DELETE FROM anomalyvfm_opt.trial_metric WHERE trial_id = :trial_id;
    DELETE FROM anomalyvfm_opt.image_score WHERE trial_id = :trial_id;
    DELETE FROM anomalyvfm_opt.artifact WHERE trial_id = :trial_id;
    DELETE FROM anomalyvfm_opt.trial_resample WHERE trial_id = :trial_id
"""
_WRITTEN = (tables.trial_metric, tables.image_score, tables.artifact, tables.trial_resample)
_WRITE = text("; ".join((_DELETE, *map(_insert_columns, _WRITTEN))))
_STUDY_SCORES = text("""
    SELECT i.trial_id, i.image_key, i.score FROM anomalyvfm_opt.image_score i
      JOIN trials t ON t.trial_id = i.trial_id
     WHERE t.study_id = :study_id
""")
_STUDY_AUROCS = text("""
    SELECT m.trial_id, m.scorer, m.image_auroc FROM anomalyvfm_opt.trial_metric m
      JOIN trials t ON t.trial_id = m.trial_id
     WHERE t.study_id = ANY(:study_ids)
""")
# all trials of a study are scored on the same images, so those of one tell
_STUDY_LABELS = text("""
    SELECT s.study_id, i.label, count(*) AS images FROM unnest(CAST(:study_ids AS integer[])) AS s (study_id)
     CROSS JOIN LATERAL (
           SELECT m.trial_id, m.scorer FROM anomalyvfm_opt.trial_metric m
             JOIN trials t ON t.trial_id = m.trial_id
            WHERE t.study_id = s.study_id LIMIT 1) one
      JOIN anomalyvfm_opt.image_score i ON i.trial_id = one.trial_id AND i.scorer = one.scorer
     GROUP BY s.study_id, i.label
""")


def write_scores(
    engine: Engine,
    trial_id: int,
    metrics: Mapping[str, Metrics],
    image_keys: tuple[str, ...],
    labels: np.ndarray,
    scores: Mapping[str, np.ndarray],
    artifacts: Mapping[str, Artifact] | None = None,
    resampled: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Store a trial's metrics, scores and files in one transaction, replacing earlier ones of the same trial.

    Args:
        engine: of the study store.
        trial_id: Optuna's id of the trial.
        metrics: scorer -> metrics.
        image_keys: of the n scored images.
        labels: int (n,), 1 for anomalous.
        scores: scorer -> float (n,).
        artifacts: kind -> file, which is there already.
        resampled: metric -> its values under the shared draws of scenes, float (draws,).
    """
    metric_rows = [{"trial_id": trial_id, "scorer": name, **asdict(m)} for name, m in metrics.items()]
    score_rows = [
        {"trial_id": trial_id, "scorer": name, "image_key": key, "label": int(label), "score": float(score)}
        for name, values in scores.items()
        for key, label, score in zip(image_keys, labels, values, strict=True)
    ]
    file_rows = [{"trial_id": trial_id, "kind": kind, **asdict(file)} for kind, file in (artifacts or {}).items()]
    draw_rows = [
        {"trial_id": trial_id, "metric": name, "draws": json.dumps([float(value) for value in values])}
        for name, values in (resampled or {}).items()
    ]
    columns = {
        f"{table.name}_{column.name}": [row[column.name] for row in rows]
        for table, rows in zip(_WRITTEN, (metric_rows, score_rows, file_rows, draw_rows), strict=True)
        for column in table.columns
    }
    with autocommit(engine) as connection:
        connection.execute(_WRITE, {"trial_id": trial_id, **columns})


def delete_scores(engine: Engine, trial_id: int) -> None:
    """Drop a trial's metrics and scores, and the rows of its files."""
    with autocommit(engine) as connection:
        connection.execute(text(_DELETE), {"trial_id": trial_id})


def read_metrics(engine: Engine, trial_id: int) -> dict[str, Metrics]:
    """Return the metrics of one trial, by scorer."""
    table = tables.trial_metric
    with engine.connect() as connection:
        rows = [row._asdict() for row in connection.execute(select(table).where(table.c.trial_id == trial_id))]
    return {
        row["scorer"]: Metrics(**{k: v for k, v in row.items() if k not in ("trial_id", "scorer")}) for row in rows
    }


def read_resampled(engine: Engine, trial_id: int, metric: str) -> np.ndarray | None:
    """Return a metric of a trial under the shared draws of scenes, float64 (draws,); None if it has none."""
    table = tables.trial_resample
    query = select(table.c.draws).where(table.c.trial_id == trial_id, table.c.metric == metric)
    with engine.connect() as connection:
        draws = connection.scalar(query)
    return None if draws is None else np.array(draws, dtype=np.float64)


def read_aurocs(engine: Engine, study_ids: Sequence[int]) -> dict[int, dict[str, float]]:
    """Return the image AUROC of each trial of some studies that has scores: trial id -> scorer -> AUROC."""
    aurocs: dict[int, dict[str, float]] = defaultdict(dict)
    with engine.connect() as connection:
        for trial_id, scorer, value in connection.execute(_STUDY_AUROCS, {"study_ids": list(study_ids)}):
            aurocs[trial_id][scorer] = value
    return dict(aurocs)


def count_pairs(engine: Engine, study_ids: Sequence[int]) -> dict[int, int]:
    """Return how many pairs of a normal and an anomalous image the trials of some studies are scored on.

    An AUROC on n pairs moves in steps of 1 / n. Studies without scores of both kinds are left out.
    """
    counts: dict[int, list[int]] = defaultdict(list)
    with engine.connect() as connection:
        for study_id, _, images in connection.execute(_STUDY_LABELS, {"study_ids": list(study_ids)}):
            counts[study_id].append(images)
    return {study_id: found[0] * found[1] for study_id, found in counts.items() if len(found) == 2}


def read_all_scores(engine: Engine, study_id: int) -> dict[int, dict[str, float]]:
    """Return the scores of a study whose trials have one scorer each: trial id -> image key -> score."""
    scores: dict[int, dict[str, float]] = defaultdict(dict)
    with engine.connect() as connection:
        for trial_id, key, value in connection.execute(_STUDY_SCORES, {"study_id": study_id}):
            scores[trial_id][key] = value
    return dict(scores)


def read_scores(engine: Engine, trial_id: int, scorer: str) -> dict[str, tuple[int, float]]:
    """Return the label and the score of each image in one trial by one scorer, by the image's key."""
    table = tables.image_score
    query = select(table.c.image_key, table.c.label, table.c.score).where(
        table.c.trial_id == trial_id, table.c.scorer == scorer
    )
    with engine.connect() as connection:
        return {key: (label, score) for key, label, score in connection.execute(query)}
