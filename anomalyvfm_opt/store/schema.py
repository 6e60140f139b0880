"""Create and upgrade the tables of a study store: Optuna's by Optuna, ours by Alembic."""

import logging

from sqlalchemy import Connection, Engine, text

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.tables import SCHEMA

HEAD = "0001"
_PREPARE_LOCK = 0x616E6F6D616C79  # one key for the advisory lock under which tables are made ("anomaly")


def prepare_database(engine: Engine) -> None:
    """Make the tables where there are none; several processes may call this at once.

    Raises:
        EnvironmentMissingError: the tables are those of another version.
    """
    with engine.connect() as connection:
        version = _read_version(connection)
        has_optuna = connection.scalar(text("SELECT to_regclass('studies')")) is not None
    if version is None:
        _upgrade(engine, with_optuna=not has_optuna)  # tables that others may use change on `db upgrade` only
    elif version != HEAD:
        raise EnvironmentMissingError(
            f"the study store has schema version {version}, this program needs {HEAD}",
            "run `anomalyvfm-opt db upgrade`" if version < HEAD else "upgrade this program",
        )


def upgrade_database(engine: Engine) -> tuple[str | None, str]:
    """Bring the tables, Optuna's and ours, to this program's version.

    Returns:
        The versions of our tables before (None if there were none) and after.
    """
    with engine.connect() as connection:
        before = _read_version(connection)
    _upgrade(engine, with_optuna=True)
    return before, HEAD


def _read_version(connection: Connection) -> str | None:
    name = f"{SCHEMA}.schema_version"
    if connection.scalar(text("SELECT to_regclass(:name)"), {"name": name}) is None:
        return None
    version: str | None = connection.scalar(text(f"SELECT version_num FROM {name}"))  # noqa: S608 - a constant
    return version


def _upgrade(engine: Engine, *, with_optuna: bool) -> None:
    from alembic import command
    from alembic.config import Config
    from optuna.storages import RDBStorage

    logging.disable(logging.INFO)  # Optuna's migration sets loggers up by itself
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _PREPARE_LOCK})
        try:
            if with_optuna:
                url = engine.url.render_as_string(hide_password=False)
                storage = RDBStorage(url, skip_compatibility_check=True)
                storage.upgrade()
                storage.engine.dispose()
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            config = Config()
            config.set_main_option("script_location", "anomalyvfm_opt.store:migrations")
            config.attributes["connection"] = connection
            command.upgrade(config, HEAD)
            connection.commit()
        finally:
            logging.disable(logging.NOTSET)
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _PREPARE_LOCK})
            connection.commit()
