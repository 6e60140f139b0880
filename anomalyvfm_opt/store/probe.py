"""Questions to the study store's server that change nothing: each in a short read-only transaction of its own."""

import time
from collections.abc import Sequence
from json import loads
from typing import Any

from sqlalchemy import Engine, Row, create_engine, text

from anomalyvfm_opt.store.engine import check_connection, engine_options, explained
from anomalyvfm_opt.store.misplaced import FIND_SCHEMAS
from anomalyvfm_opt.store.tables import SCHEMA

_STATEMENT_TIMEOUT_MS = 5000
_BOUNDS = {"connect_timeout": 5, "tcp_user_timeout": _STATEMENT_TIMEOUT_MS}  # in seconds and in milliseconds

_SERVER = """
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
           pg_is_in_recovery() AS is_standby, current_setting('server_encoding') AS encoding,
           current_setting('default_transaction_read_only')::bool AS is_read_only
"""
# Backends are counted by database, since what kind of process a session of another role is, nobody else may see.
_CONNECTIONS = """
    SELECT current_setting('max_connections')::int AS max_connections,
           current_setting('superuser_reserved_connections')::int
               + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
           (SELECT sum(numbackends)::int FROM pg_stat_database) AS in_use,
           (SELECT numbackends FROM pg_stat_database WHERE datname = current_database()) AS in_use_here,
           (SELECT count(*)::int FROM pg_stat_activity WHERE usesysid = r.oid) AS in_use_by_role,
           (SELECT count(*)::int FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = :name) AS ours,
           (SELECT count(*)::int FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = :name AND usesysid = r.oid) AS ours_by_role,
           r.rolsuper AS is_superuser, r.rolconnlimit AS role_limit, quote_ident(r.rolname) AS role,
           d.datconnlimit AS database_limit, quote_ident(d.datname) AS database
      FROM pg_roles r, pg_database d
     WHERE r.rolname = session_user AND d.datname = current_database()
"""
_ROLE = """
    SELECT current_user AS role, to_regnamespace(:ours) IS NOT NULL AS has_ours,
           coalesce(has_schema_privilege(to_regnamespace(:ours)::oid, 'USAGE'), false) AS may_use_ours
"""
_TABLES = """
    SELECT n.nspname AS schema, c.relname AS name,
           has_table_privilege(c.oid, 'SELECT') AS may_select, has_table_privilege(c.oid, 'INSERT') AS may_insert,
           has_any_column_privilege(c.oid, 'UPDATE') AS may_update,
           has_table_privilege(c.oid, 'DELETE') AS may_delete
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p')
       AND (n.nspname = :ours OR (c.relname = ANY(:optuna) AND pg_table_is_visible(c.oid)))
"""
_SEQUENCES = """
    SELECT s.relname AS name
      FROM pg_class s
      JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'a'
      JOIN pg_class t ON t.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass
     WHERE t.relname = ANY(:optuna) AND pg_table_is_visible(t.oid)
       AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') END
"""
_HAS_TABLE = "SELECT to_regclass(:name) IS NOT NULL AS is_there"
_LIBRARIES = """
    SELECT a.value_json FROM trial_user_attributes a JOIN trials t USING (trial_id)
     WHERE t.study_id = :study_id AND a.key = 'versions' ORDER BY t.trial_id DESC LIMIT 1
"""


class ServerProbe:
    """Asks the server what there is and what the connected role may do.

    Raises:
        EnvironmentMissingError: out of each question, when the database went away.

    Args:
        url: of the database; connects within seconds.
    """

    def __init__(self, url: str) -> None:
        options = engine_options(url, pool_size=1)
        options["connect_args"] |= _BOUNDS  # which win over the URL's
        engine = create_engine(url, **options)
        try:
            check_connection(engine)
        except BaseException:
            engine.dispose()
            raise
        self.engine: Engine = engine.execution_options(postgresql_readonly=True)

    def close(self) -> None:
        """Give the connection back."""
        self.engine.dispose()

    def read_server(self) -> Row[Any]:
        """Return the server's version, its encoding, and whether it is read-only."""
        return self._ask(_SERVER)[0]

    def count_connections(self, application: str) -> Row[Any]:
        """Return the limits on connections, and how many are taken, by whom.

        Args:
            application: the name under which our own connections are known.
        """
        return self._ask(_CONNECTIONS, name=application)[0]

    def read_role(self) -> Row[Any]:
        """Return who we are, whether our schema is there, and whether we may use it."""
        return self._ask(_ROLE, ours=SCHEMA)[0]

    def list_tables(self, optuna: Sequence[str]) -> list[Row[Any]]:
        """Return our tables and those of Optuna's that are there, each with what this role may do to it."""
        return self._ask(_TABLES, ours=SCHEMA, optuna=list(optuna))

    def list_closed_sequences(self, optuna: Sequence[str]) -> list[str]:
        """Return the sequences of these tables that this role may not use."""
        return [row.name for row in self._ask(_SEQUENCES, optuna=list(optuna))]

    def has_table(self, name: str) -> bool:
        """Return whether a table is there; ours are named with their schema."""
        return self._ask(_HAS_TABLE, name=name)[0].is_there is True

    def read_our_version(self) -> str | None:
        """Return the version of our tables, which are there; None if they have none."""
        return self._read_version(f"{SCHEMA}.schema_version")

    def read_optuna_version(self) -> str | None:
        """Return the version of Optuna's tables; None if they have none."""
        return self._read_version("alembic_version") if self.has_table("alembic_version") else None

    def list_optuna_schemas(self) -> list[str]:
        """Return the schemas that have tables of Optuna's."""
        return [row.name for row in self._ask(FIND_SCHEMAS)]

    def read_libraries(self, study_id: int) -> dict[str, str]:
        """Return the versions of the libraries that a study's latest trial ran with; empty if none has run."""
        rows = self._ask(_LIBRARIES, study_id=study_id)
        return dict(loads(rows[0].value_json)) if rows else {}

    def time_statements(self, count: int) -> list[float]:
        """Return how many milliseconds each of so many empty statements takes, there and back."""
        samples = []
        with self.engine.connect() as connection:
            for _ in range(count):
                started = time.perf_counter()
                connection.execute(text("SELECT 1"))
                samples.append((time.perf_counter() - started) * 1000)
        return samples

    def compare_clocks(self, count: int) -> list[tuple[float, float]]:
        """Return the seconds that each of so many readings took, and how far the server's clock was ahead."""
        samples = []
        with self.engine.connect() as connection:
            for _ in range(count):
                before = time.time()
                there = float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")))
                after = time.time()
                samples.append((after - before, there - (before + after) / 2))
        return samples

    def _read_version(self, table: str) -> str | None:
        rows = self._ask(f"SELECT version_num FROM {table}")  # noqa: S608 - a constant
        return rows[0].version_num if rows else None

    def _ask(self, query: str, **values: Any) -> list[Row[Any]]:
        """Return the rows of a query, which may not take long."""
        with explained(self.engine.url), self.engine.connect() as connection:
            connection.execute(text(f"SET LOCAL statement_timeout = {_STATEMENT_TIMEOUT_MS}"))
            return list(connection.execute(text(query), values))
