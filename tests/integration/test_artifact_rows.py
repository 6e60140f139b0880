"""The rows that name a trial's files come and go with its scores."""

import numpy as np
import pytest
from sqlalchemy import text

from anomalyvfm_opt.evaluation.metrics import evaluate
from anomalyvfm_opt.store.artifacts import Artifact, read_artifacts
from anomalyvfm_opt.store.scores import delete_scores, read_metrics, write_scores
from anomalyvfm_opt.store.studies import delete_study
from tests.integration.conftest import KEYS, Bench

SCORES, LABELS = np.array([0.0, 1.0]), np.array([0, 1])
FILES = {"detector": Artifact("ab" * 32, 2**33), "other": Artifact("cd" * 32, 0)}


def write(bench: Bench, trial_id: int, artifacts: dict[str, Artifact] | None) -> None:
    metrics = {"patch_knn": evaluate(SCORES, LABELS)}
    write_scores(bench.engine, trial_id, metrics, KEYS, LABELS, {"patch_knn": SCORES}, artifacts)


@pytest.fixture
def trial_id(bench: Bench) -> int:
    return bench.study().ask()._trial_id


def test_files_are_written_replaced_and_deleted_with_the_scores(bench: Bench, trial_id: int) -> None:
    write(bench, trial_id, FILES)
    assert read_artifacts(bench.engine, trial_id) == FILES
    assert read_metrics(bench.engine, trial_id).keys() == {"patch_knn"}
    write(bench, trial_id, {"detector": FILES["other"]})
    assert read_artifacts(bench.engine, trial_id) == {"detector": FILES["other"]}
    write(bench, trial_id, None)
    assert read_artifacts(bench.engine, trial_id) == {}
    write(bench, trial_id, FILES)
    delete_scores(bench.engine, trial_id)
    assert read_artifacts(bench.engine, trial_id) == {}
    assert read_metrics(bench.engine, trial_id) == {}


def test_scores_are_not_written_without_the_rows_of_the_files(bench: Bench, trial_id: int) -> None:
    broken = {"detector": Artifact("ab" * 32, 2**63)}  # more than the column takes
    with pytest.raises(Exception, match="out of range"):
        write(bench, trial_id, broken)
    assert read_metrics(bench.engine, trial_id) == {}


def test_a_deleted_study_leaves_no_rows(bench: Bench, trial_id: int) -> None:
    write(bench, trial_id, FILES)
    delete_study(bench.store, bench.record.name)
    with bench.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM anomalyvfm_opt.artifact")).scalar() == 0
