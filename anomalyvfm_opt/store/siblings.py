"""Sibling studies: `<study>#replicates` and `<study>#confirm`, whose trials are all planned."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Integer, Table, bindparam, literal, select
from sqlalchemy.dialects.postgresql import Insert, insert

from anomalyvfm_opt.spec.study_name import Kind
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.advisory import lock
from anomalyvfm_opt.store.optuna_private import read_study_id
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord, find_study
from anomalyvfm_opt.store.waiting import enqueue_planned

_FROM = bindparam("original", type_=Integer)
_TO = bindparam("sibling", type_=Integer)


def _copy(table: Table, given: Mapping[str, ColumnElement[Any]]) -> Insert:
    """Return the statement that copies a study's rows of a table to a sibling, with some columns given."""
    shared = [column for column in table.c if column.name not in given and not column.info.get("is_own")]
    rows = select(*given.values(), *shared).where(table.c.study_id == _FROM)
    names = [*given, *(column.name for column in shared)]
    return insert(table).from_select(names, rows).on_conflict_do_nothing()


# The same spec, data, weights and division; no ticket until trials are planned.
_COPIES = (
    _copy(tables.study, {"study_id": _TO, "budget": literal(0)}),
    _copy(tables.study_image, {"study_id": _TO}),
)

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
    name = study.name_sibling(kind)
    import optuna  # here, because commands that read siblings need none of it

    sibling = optuna.create_study(
        storage=store.storage, study_name=name, direction="maximize", load_if_exists=True
    )
    sibling_id = read_study_id(sibling)
    with store.engine.begin() as connection:
        lock(connection, name, f"to plan trials of {name}")  # the same as creation's
        for copy in _COPIES:
            connection.execute(copy, {"sibling": sibling_id, "original": study.study_id})
        is_wanted = alongside(connection, sibling_id)
        return enqueue_planned(connection, sibling_id, trials) if is_wanted else 0


def find_sibling(engine: Engine, study: StudyRecord, kind: Kind) -> StudyRecord | None:
    """Return a study's sibling; None if nothing was planned yet."""
    with engine.connect() as connection:
        return find_study(connection, study.name_sibling(kind))
