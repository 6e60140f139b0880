"""Create and upgrade the tables of a study store: Optuna's by Optuna, ours by Alembic.

Tables are made where there are none. Tables of another version, which others may be using, change on `db upgrade`
only. All of this happens under one advisory lock, Optuna's tables in one transaction and ours in another, so that
a call that is interrupted leaves either as it was or as it should be, and may be repeated.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.store.advisory import locked
from anomalyvfm_opt.store.engine import explained
from anomalyvfm_opt.store.misplaced import FIND_SCHEMAS, explain_misplaced
from anomalyvfm_opt.store.rights import check_may_create
from anomalyvfm_opt.store.roles import find_roles, grant_roles, may_grant
from anomalyvfm_opt.store.tables import SCHEMA
from anomalyvfm_opt.store.versions import UPGRADE_OURS, UPGRADE_PROGRAM, list_optuna_versions

HEAD = "0006"
_LOCK_WAIT_S = 60  # for a table that is to be changed
_LOCK = 0x616E6F6D616C79  # one key for the advisory lock under which tables are made ("anomaly")


@dataclass(frozen=True)
class Versions:
    """Versions of the tables in a store; None where there are none."""

    ours: str | None
    optuna: str | None


def prepare_database(engine: Engine) -> None:
    """Make the tables where there are none; several processes may call this at once.

    Raises:
        EnvironmentMissingError: the tables are those of another version, or may not be made.
        UsageError: the tables of another program are there.
    """
    with explained(engine.url):
        with engine.connect() as connection:
            found = _read_versions(connection)
        _check_versions(found, may_be_older=False)
        if found.ours is not None and found.optuna is not None:
            return
        with _alone(engine) as connection:
            _bring_up(engine, connection)


def is_prepared(engine: Engine) -> bool:
    """Return whether the tables are there; nothing is made.

    Raises:
        EnvironmentMissingError: the tables are those of another version.
        UsageError: the tables of another program are there.
    """
    with engine.connect() as connection:
        found = _read_versions(connection)
    _check_versions(found, may_be_older=False)
    return found.ours is not None and found.optuna is not None


def upgrade_database(engine: Engine) -> tuple[Versions, Versions]:
    """Bring the tables, Optuna's and ours, to this program's version; make them where there are none.

    Where roles were applied (store/roles.py), they are applied again, so that new tables are covered.

    Returns:
        The versions before and after.

    Raises:
        EnvironmentMissingError: the tables are newer than this program, or may not be changed.
        UsageError: the tables of another program are there.
    """
    with explained(engine.url):
        with engine.connect() as connection:  # who has no right to the lock has nothing to do under it
            found = _read_versions(connection)
            if found == Versions(HEAD, list_optuna_versions()[0]) and not may_grant(connection):
                return found, found
        return _upgrade(engine)


def _upgrade(engine: Engine) -> tuple[Versions, Versions]:
    with _alone(engine) as connection:
        before = _bring_up(engine, connection, and_upgrade=True)
        if may_grant(connection):
            for roles in find_roles(connection):
                grant_roles(connection, roles)
        connection.commit()
        return before, _read_versions(connection)


def _bring_up(engine: Engine, connection: Connection, *, and_upgrade: bool = False) -> Versions:
    """Make what is missing, and upgrade what is older if wanted, under the lock; return what was found."""
    found = _read_versions(connection)
    _check_versions(found, may_be_older=and_upgrade)
    if found.ours is None or found.optuna is None:
        check_may_create(connection, with_optuna=found.optuna is None)
    connection.commit()  # Optuna's migration, on another connection, must not wait for what this one has read
    if found.optuna != list_optuna_versions()[0]:
        from anomalyvfm_opt.store.storage import make_optuna_tables

        make_optuna_tables(engine.url.render_as_string(hide_password=False), and_upgrade=and_upgrade)
    if found.ours != HEAD:
        _migrate(connection)
    return found


def _read_versions(connection: Connection) -> Versions:
    ours = _read_version(connection, f"{SCHEMA}.schema_version")
    optuna = _read_version(connection, "alembic_version")
    if ours is not None and optuna is None and (schemas := connection.scalars(text(FIND_SCHEMAS)).all()):
        raise EnvironmentMissingError(*explain_misplaced(schemas))
    if optuna is not None and not _has_table(connection, "studies"):
        raise UsageError(
            f"the database has the tables of another program (alembic_version {optuna!r})",
            "give the study store a database of its own: createdb NAME",
        )
    return Versions(ours, optuna)


def _read_version(connection: Connection, table: str) -> str | None:
    if not _has_table(connection, table):
        return None
    version: str | None = connection.scalar(text(f"SELECT version_num FROM {table}"))  # noqa: S608 - a constant
    return version


def _has_table(connection: Connection, name: str) -> bool:
    return connection.scalar(text("SELECT to_regclass(:name)"), {"name": name}) is not None


def _check_versions(found: Versions, *, may_be_older: bool) -> None:
    """Refuse tables of another version; those that are not there fit."""
    head, known = list_optuna_versions()
    for what, version, needed, is_older in (
        ("schema version", found.ours, HEAD, (found.ours or "") < HEAD),
        ("Optuna's tables of version", found.optuna, head, found.optuna in known),
    ):
        if version not in (None, needed) and not (is_older and may_be_older):
            raise EnvironmentMissingError(
                f"the study store has {what} {version}, this program needs {needed}",
                UPGRADE_OURS if is_older else UPGRADE_PROGRAM,
            )


def _migrate(connection: Connection) -> None:
    """Run our migrations in one transaction."""
    from alembic import command
    from alembic.config import Config

    # A reader that left a transaction open would hold us up, and everybody behind us.
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'"))
    if connection.scalar(text("SELECT to_regnamespace(:name)"), {"name": SCHEMA}) is None:
        connection.execute(
            text(f"CREATE SCHEMA {SCHEMA}")
        )  # IF NOT EXISTS would ask for the right even where it does
    config = Config()
    config.set_main_option("script_location", "anomalyvfm_opt.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
    connection.commit()


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """Hold the lock under which tables are made and changed; the server frees it if we die."""
    with engine.connect() as connection, locked(connection, _LOCK, "to make tables"):
        yield connection
