"""What a database user needs to be allowed, and the SQL that allows it."""

import re
import shlex
from typing import Literal

from sqlalchemy import Connection, Engine, text

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.tables import SCHEMA

_RIGHTS = text("""
    SELECT current_user AS role, current_database() AS database, coalesce(current_schema(), 'public') AS schema,
           to_regnamespace(:ours) IS NOT NULL AS has_ours,
           has_database_privilege(current_database(), 'CREATE') AS may_make_ours,
           coalesce(has_schema_privilege(to_regnamespace(:ours)::oid, 'CREATE'), false) AS may_fill_ours,
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_make_tables
""")
# What the statements of a worker need, beside SELECT on every table; UPDATE is of single columns mostly.
# store/roles.sql grants exactly this, and a test holds the two together.
WORKER_RIGHTS: dict[str, tuple[str, ...]] = {
    "studies": ("UPDATE",),  # to lock a row
    "trials": ("INSERT", "UPDATE"),
    "trial_params": ("INSERT",),
    "trial_values": ("INSERT", "UPDATE"),
    "trial_intermediate_values": ("INSERT", "UPDATE"),
    "trial_user_attributes": ("INSERT", "UPDATE"),
    "trial_system_attributes": ("INSERT", "UPDATE"),
    "lease": ("INSERT", "UPDATE", "DELETE"),
    "study": ("UPDATE",),
    "trial_outcome": ("INSERT",),
    "trial_metric": ("INSERT", "DELETE"),
    "image_score": ("INSERT", "DELETE"),
    "artifact": ("INSERT", "DELETE"),
    "trial_resample": ("INSERT", "DELETE"),
    "worker": ("INSERT", "UPDATE", "DELETE"),
    "confirmation": ("UPDATE",),
    "look": ("INSERT",),
    "look_image": ("INSERT",),
}
_MAY = text("""
    SELECT current_user AS role, current_database() AS database, pg_get_userbyid(c.relowner) AS owner,
           has_table_privilege(to_regclass(:table)::oid, :right) AS may
      FROM pg_class c WHERE c.oid = to_regclass('anomalyvfm_opt.study')
""")
# What tells whether a role may: a right on one table.
_TELLING = {
    "create studies": ("anomalyvfm_opt.study", "INSERT"),
    "delete studies": ("studies", "DELETE"),
    "run trials": ("anomalyvfm_opt.lease", "INSERT"),
    "predict": ("anomalyvfm_opt.prediction", "INSERT"),
}
_ADMINISTRATOR = "the administrator runs there"
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_GUARDED = re.compile(r"\buser \S+ (may not|writes in) ")  # what store/guards.sql says
_DENIED = re.compile(r'permission denied for (\w+) "?([^"\n]+)"?')


def check_may_create(connection: Connection, *, with_optuna: bool) -> None:
    """Refuse to make tables as a user who may not; asked before, so that all that is missing is said at once.

    Args:
        connection: to the study store.
        with_optuna: whether Optuna's tables are to be made as well.

    Raises:
        EnvironmentMissingError: with the SQL that the administrator runs.
    """
    row = connection.execute(_RIGHTS, {"ours": SCHEMA}).one()
    role = quote(row.role)
    grants = []
    if row.has_ours and not row.may_fill_ours:
        grants.append(f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {role};")
    if not row.has_ours and not row.may_make_ours:
        grants.append(f"GRANT CREATE ON DATABASE {quote(row.database)} TO {role};")
    if with_optuna and not row.may_make_tables:
        grants.append(f"GRANT USAGE, CREATE ON SCHEMA {quote(row.schema)} TO {role};")
    if grants:
        raise EnvironmentMissingError(
            f"user {row.role} may not make the tables in database {row.database!r}",
            f"{_ADMINISTRATOR}: {' '.join(grants)}",
        )


def check_may(engine: Engine, what: Literal["create studies", "delete studies", "run trials", "predict"]) -> None:
    """Refuse what the connected user may not do, such as one with a role of store/roles.sql.

    Asked before images are read, and so that the answer names who may.

    Raises:
        EnvironmentMissingError: it may not.
    """
    table, right = _TELLING[what]
    with engine.connect() as connection:
        row = connection.execute(_MAY, {"table": table, "right": right}).one()
    if not row.may:
        other = "with the role for workers, or " if what == "run trials" else ""
        raise EnvironmentMissingError(
            f"user {row.role} may not {what} in database {row.database!r}",
            f"do it {other}as the owner of the tables: user {row.owner} in --db or ANOMALYVFM_OPT_DB_URL",
        )


def advise(message: str, role: str) -> str:
    """Return what allows what the server denied, and who does it.

    Args:
        message: the server's, of SQLSTATE 42501.
        role: who was denied.
    """
    if _GUARDED.search(message):
        return "only the owner of the tables may: name that user in --db or ANOMALYVFM_OPT_DB_URL"
    denied = _DENIED.search(message)
    kind, name = (denied[1], denied[2]) if denied else ("", "")
    if kind == "database":
        right = "CONNECT" if "CONNECT" in message else "CREATE"
        return f"{_ADMINISTRATOR}: GRANT {right} ON DATABASE {quote(name)} TO {quote(role)};"
    if kind == "schema" and name != SCHEMA:
        return f"{_ADMINISTRATOR}: GRANT USAGE, CREATE ON SCHEMA {quote(name)} TO {quote(role)};"
    return advise_role(role)


def advise_role(role: str) -> str:
    """Advise how a role comes by what workers need and no more: a grant on all tables would let it delete."""
    return (
        "do it as the owner of the tables; for what a worker does, use the role of the workers, or have the owner"
        f" make this one such a role: `anomalyvfm-opt db roles --worker {shlex.quote(role)}`"
    )


def quote(name: str) -> str:
    """Return a name in SQL that a person reads: quoted unless it is plain."""
    return name if _PLAIN.fullmatch(name) else quote_always(name)


def quote_always(name: str) -> str:
    """Return a name in SQL that is run; a plain one may be a word of SQL's own, such as `user`."""
    return '"' + name.replace('"', '""') + '"'
