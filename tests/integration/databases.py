"""Databases as older programs left them: SQL of pg_dump, loaded into an empty database."""

from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy import text
from sqlalchemy.engine import make_url

from anomalyvfm_opt.store.engine import make_engine

_FOLDER = Path(__file__).parents[1] / "fixtures" / "databases"
OURS_0001 = _FOLDER / "schema_0001.sql"
OPTUNA_2_10 = _FOLDER / "optuna_2_10_1.sql"


def load(dump: Path, url: str) -> None:
    """Run a dump, as `psql -f` does."""
    with psycopg2.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as one:
        one.cursor().execute(dump.read_text())
    one.close()


def execute(url: str, sql: str, **values: Any) -> list[Any]:
    """One statement, and its rows if it has any."""
    engine = make_engine(url)
    with engine.begin() as connection:
        result = connection.execute(text(sql), values)
        rows = list(result) if result.returns_rows else []
    engine.dispose()
    return rows


def read_versions(url: str) -> tuple[str | None, str]:
    """Of our tables and of Optuna's, read without the program."""
    has_ours = execute(url, "SELECT to_regclass('anomalyvfm_opt.schema_version')")[0][0] is not None
    ours = execute(url, "SELECT version_num FROM anomalyvfm_opt.schema_version")[0][0] if has_ours else None
    return ours, execute(url, "SELECT version_num FROM alembic_version")[0][0]
