"""What must hold after every fault, read from the database and from the files."""

from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy import Engine, text

from anomalyvfm_opt.store.artifacts import ArtifactFolder
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import load_study
from anomalyvfm_opt.trial.reap import reap

_UNLEASED = """
    SELECT t.number FROM trials t
      LEFT JOIN anomalyvfm_opt.lease l ON l.trial_id = t.trial_id AND l.expires_at > now()
     WHERE t.study_id = :id AND t.state = 'RUNNING' AND l.lease_id IS NULL
"""
_COMPLETE = """
    SELECT t.trial_id, t.number, v.value, a.sha256,
           (SELECT count(*) FROM anomalyvfm_opt.image_score s WHERE s.trial_id = t.trial_id) AS scores,
           (SELECT count(*) FROM anomalyvfm_opt.trial_metric m WHERE m.trial_id = t.trial_id) AS metrics,
           EXISTS (SELECT FROM trial_user_attributes u
                    WHERE u.trial_id = t.trial_id AND u.key = 'parameters') AS trained
      FROM trials t LEFT JOIN trial_values v ON v.trial_id = t.trial_id
      LEFT JOIN anomalyvfm_opt.artifact a ON a.trial_id = t.trial_id AND a.kind = 'detector'
     WHERE t.study_id = :id AND t.state = 'COMPLETE'
"""
_ENDS = """
    SELECT t.number, coalesce(f.value_json::int, t.number) AS first
      FROM trials t LEFT JOIN anomalyvfm_opt.trial_outcome o ON o.trial_id = t.trial_id
      LEFT JOIN trial_user_attributes f ON f.trial_id = t.trial_id AND f.key = 'first_number'
     WHERE t.study_id = :id AND (t.state IN ('COMPLETE', 'PRUNED') OR (t.state = 'FAIL' AND o.is_final))
"""

# Any score of an image that is locked in its own study, without a look of the same trial that came before.
_BLIND = """
    SELECT DISTINCT n.study_name, t.number FROM trials t
      JOIN studies n ON n.study_id = t.study_id
      JOIN anomalyvfm_opt.image_score s ON s.trial_id = t.trial_id
      JOIN anomalyvfm_opt.study_image i ON i.study_id = t.study_id AND i.image_key = s.image_key
      LEFT JOIN anomalyvfm_opt.trial_outcome o ON o.trial_id = t.trial_id
     WHERE t.study_id = :id AND i.role = 'locked'
       AND NOT EXISTS (SELECT FROM anomalyvfm_opt.look l
                        WHERE l.study_name = n.study_name AND l.trial_number = t.number
                          AND l.looked_at <= coalesce(o.ended_at, 'infinity'))
"""
# Each planned retraining, its tries counted: those that are complete, and all.
_PLANNED = """
    SELECT a.value_json AS planned, count(*) FILTER (WHERE t.state = 'COMPLETE') AS complete, count(*) AS tries
      FROM trials t JOIN trial_user_attributes a ON a.trial_id = t.trial_id AND a.key = 'planned'
     WHERE t.study_id = :id GROUP BY a.value_json
"""


def assert_books_are_right(store: Store, name: str, artifacts: Path) -> None:
    """After a reaper has passed: all that runs has a lease, nothing counts twice, what is complete is whole."""
    record = load_study(store.engine, name)
    reap(optuna.load_study(study_name=name, storage=store.storage), store.engine, "test")
    assert _ask(store.engine, _UNLEASED, record.study_id) == []
    usage = count_usage(store.engine, record.study_id)
    assert usage.used <= record.budget
    ends = Counter(row.first for row in _ask(store.engine, _ENDS, record.study_id))
    assert max(ends.values(), default=0) <= 1, ends
    assert _ask(store.engine, _BLIND, record.study_id) == [], "locked images were scored without a look"
    folder = ArtifactFolder(artifacts)
    for trial in _ask(store.engine, _COMPLETE, record.study_id):
        assert trial.value is not None
        assert trial.scores > 0
        assert trial.metrics > 0
        assert (trial.sha256 is not None) is trial.trained, f"trial {trial.number}"
        if trial.sha256 is not None:
            folder.verify(trial.sha256)


def assert_study_is_whole(store: Store, name: str, artifacts: Path) -> None:
    """At the end: the budget is used up to the last ticket, and nothing is left over."""
    assert_books_are_right(store, name, artifacts)
    record = load_study(store.engine, name)
    usage = count_usage(store.engine, record.study_id)
    assert usage.complete + usage.pruned + usage.failed == record.budget
    assert (usage.running, usage.held, usage.waiting) == (0, 0, 0)
    assert (
        _ask(store.engine, "SELECT lease_id FROM anomalyvfm_opt.lease WHERE study_id = :id", record.study_id) == []
    )


def assert_plan_is_carried_out(store: Store, name: str, artifacts: Path) -> None:
    """At the end of a sibling: each planned retraining is complete once, whatever its tries; nothing else is."""
    assert_study_is_whole(store, name, artifacts)
    record = load_study(store.engine, name)
    planned = _ask(store.engine, _PLANNED, record.study_id)
    assert [row.complete for row in planned] == [1] * record.budget
    trials = optuna.load_study(study_name=name, storage=store.storage).get_trials()
    assert sum(row.tries for row in planned) == len(trials)


def _ask(engine: Engine, query: str, study_id: int) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text(query), {"id": study_id}))
