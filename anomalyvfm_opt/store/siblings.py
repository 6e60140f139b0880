"""Sibling studies: `<study>#replicates` and `<study>#confirm`, whose trials are all planned."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text

from anomalyvfm_opt.spec.study_name import Kind, StudyName
from anomalyvfm_opt.store.planned import Planned, enqueue_planned
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord, find_study

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext(:name))")  # the same as creation's
# The same spec, data, weights and division; no ticket until trials are planned.
_COPY = text("""
    INSERT INTO anomalyvfm_opt.study (study_id, category, spec, spec_sha256, data_dir, lock, split_sha256,
                                      weights_sha256, budget, masks_sha256, judged, method)
    SELECT :sibling, category, spec, spec_sha256, data_dir, lock, split_sha256, weights_sha256, 0, masks_sha256,
           judged, method
      FROM anomalyvfm_opt.study WHERE study_id = :study_id ON CONFLICT DO NOTHING;
    INSERT INTO anomalyvfm_opt.study_image
    SELECT :sibling, image_key, role, label, scene, light, sha256, mask_sha256
      FROM anomalyvfm_opt.study_image WHERE study_id = :study_id ON CONFLICT DO NOTHING
""")

Fixed = Sequence[tuple[Planned, Mapping[str, Any]]]  # with the parameters as Optuna knows them


def plan_trials(
    store: Store,
    study: StudyRecord,
    kind: Kind,
    trials: Fixed,
    alongside: Callable[[Connection, int], bool] = lambda _connection, _study_id: True,
) -> int:
    """Let trials wait in a sibling, which is made if it is not there; those that wait or ran are left alone.

    All of it is one transaction, but for Optuna's row of a new sibling, which is nothing by itself. So an
    interrupted call leaves nothing half-planned, and two calls at once plan once.

    Args:
        store: the study store.
        study: that searches.
        kind: of the sibling.
        trials: to plan.
        alongside: more to write in the same transaction; called with the sibling's id before the trials are
            planned, and answers whether they are to be.

    Returns:
        How many trials are new.
    """
    import optuna

    name = str(StudyName.parse(study.name).sibling(kind))
    sibling = optuna.create_study(
        storage=store.storage, study_name=name, direction="maximize", load_if_exists=True
    )
    with store.engine.begin() as connection:
        connection.execute(_LOCK, {"name": name})
        connection.execute(_COPY, {"sibling": sibling._study_id, "study_id": study.study_id})
        is_wanted = alongside(connection, sibling._study_id)
        return enqueue_planned(connection, sibling._study_id, trials) if is_wanted else 0


def find_sibling(engine: Engine, study: StudyRecord, kind: Kind) -> StudyRecord | None:
    """A study's sibling; None if nothing was planned yet."""
    with engine.connect() as connection:
        return find_study(connection, str(StudyName.parse(study.name).sibling(kind)))
