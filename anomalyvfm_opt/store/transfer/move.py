"""Move a study from one store to another by a file, losing nothing.

Rows are read and written by SQL, Optuna's as well. Optuna's own interface commits each trial by itself and numbers
trials anew; so a snapshot of a study that runs could not be taken, and an interrupted import would leave a study
with half of its trials. Reading is one snapshot, writing one transaction: all of it, or nothing. In return both
stores must have Optuna's tables in one version, which is checked.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError, IntegrityError

from anomalyvfm_opt import __version__
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.spec.shown import show_value
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.advisory import lock
from anomalyvfm_opt.store.engine import explained
from anomalyvfm_opt.store.schema import HEAD
from anomalyvfm_opt.store.sealed import find_open
from anomalyvfm_opt.store.transfer.content import check_content
from anomalyvfm_opt.store.transfer.family import insert_family, list_family, read_family
from anomalyvfm_opt.store.transfer.file import Header, StudyFile, to_lines
from anomalyvfm_opt.store.transfer.reading import read_chunks
from anomalyvfm_opt.store.versions import list_optuna_versions


def export_study(engine: Engine, name: str, write: Callable[[Iterable[bytes]], None]) -> Header:
    """Write a study out as it is at one moment; workers may go on meanwhile.

    A running trial travels as waiting, with the parameters that it has: its run stays with its worker.

    Args:
        engine: of a store that has this program's tables.
        name: of the study.
        write: takes the file's lines, and has written them when it returns.

    Raises:
        UsageError: no such study.
        EnvironmentMissingError: the database went away, or what `write` raises.
    """
    with explained(engine.url), _snapshot(engine) as connection:
        study_id = _find(connection, name)
        if study_id is None:
            raise UsageError(f"no study {name!r}", "it was deleted just now")
        counts = [_count_trials(connection, one) for one in list_family(connection, name).values()]
        trials, running = (sum(column) for column in zip(*counts, strict=True))
        header = Header(
            study=name,
            program=__version__,
            our_tables=HEAD,
            optuna_tables=list_optuna_versions()[0],
            exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
            trials=trials,
            requeued=running,
        )
        write(to_lines(header, read_family(connection, name)))
    return header


def import_study(engine: Engine, file: StudyFile) -> bool:
    """Put an exported study into this store; the same study again is a no-op.

    Args:
        engine: of a store that has this program's tables.
        file: from `check_file`, which found it whole.

    Returns:
        True if it was imported, False if it was there.

    Raises:
        UsageError: the file is of another version, no export says what it does, or the store has another study of
            that name.
        EnvironmentMissingError: the file cannot be read, or the database went away; nothing was written.
    """
    _check_versions(file)
    check_content(file)
    name = file.header.study
    with explained(engine.url), engine.begin() as connection:
        lock(connection, name, f"to import {name}")  # the same as creation's
        if _find(connection, name) is not None:
            _check_same(engine, file)
            return False
        new = insert(tables.optuna_studies).values(study_name=name).on_conflict_do_nothing()
        study_id = connection.scalar(new.returning(tables.optuna_studies.c.study_id))
        if study_id is None:
            raise UsageError(
                f"an Optuna study {name!r} that is not ours is in this database",
                "import into another database, or delete that study with Optuna",
            )
        with _refused(file):
            insert_family(connection, study_id, (chunk for _, chunk in read_chunks(file)))
    return True


@contextmanager
def _refused(file: StudyFile) -> Iterator[None]:
    """Say it of the file if the database does not take its rows; the transaction takes them all back."""
    try:
        yield
    except (DataError, IntegrityError) as error:
        reason = str(error.orig).strip().partition("\n")[0]
        raise UsageError(
            f"{file.path} has rows that the database refuses: {show_value(reason, 200)}",
            "nothing was imported; export the study again",
        ) from None


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    """Return a connection that sees the store as it was at its first statement."""
    with engine.connect() as connection:
        yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _find(connection: Connection, name: str) -> int | None:
    query = (
        select(tables.study.c.study_id)
        .join(tables.optuna_studies, tables.study.c.study_id == tables.optuna_studies.c.study_id)
        .where(tables.optuna_studies.c.study_name == name)
    )
    study_id: int | None = connection.scalar(query)
    return study_id


def _count_trials(connection: Connection, study_id: int) -> tuple[int, int]:
    """Return all trials of a study, and those that travel as waiting."""
    query = select(func.count()).where(tables.optuna_trials.c.study_id == study_id)
    return connection.scalar(query) or 0, len(find_open(connection, study_id))


def _check_versions(file: StudyFile) -> None:
    """Refuse rows that do not fit this program's tables; of an older one, what was not there yet is NULL."""
    header, (needed, known) = file.header, list_optuna_versions()
    if header.our_tables > HEAD or header.optuna_tables not in known:
        raise UsageError(
            f"{file.path} comes from a store that is newer than this program ({__version__})",
            f"use anomalyvfm-opt {header.program} or newer",
        )
    if header.optuna_tables != needed:
        raise UsageError(
            f"{file.path} has Optuna's tables of version {header.optuna_tables}, this program needs {needed}",
            "run `anomalyvfm-opt db upgrade` on the store that it comes from, and export the study again",
        )


def _check_same(engine: Engine, file: StudyFile) -> None:
    """Export the study that is there under the header of the file: the same content has the same hash."""
    with _snapshot(engine) as connection:
        study_id = _find(connection, file.header.study)
        chunks = () if study_id is None else read_family(connection, file.header.study)
        (seal,) = deque(to_lines(file.header, chunks), maxlen=1)
    if seal != file.seal:
        name = file.header.study
        raise UsageError(
            f"study {name!r} is in this store with another content than in {file.path}",
            f"import into another database (--db), or first delete it: anomalyvfm-opt study delete {name}",
        )
