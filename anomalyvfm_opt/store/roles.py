"""Three roles on a study store: owner, worker and viewer. What each may do stands in store/roles.sql."""

import re
import shlex
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.store.engine import explained
from anomalyvfm_opt.store.rights import quote, quote_always
from anomalyvfm_opt.store.tables import SCHEMA

SCRIPT = Path(__file__).with_name("roles.sql")
GUARDS = 3  # of store/guards.sql: `guards_version()` there
_UNFIT = ("P0001", "42939")  # raised by roles.sql itself, in words for a person; a name that the server keeps
_BUSY = "55P03"
_INCLUDED = re.compile(r"^\\ir (\S+)$", re.MULTILINE)  # by psql: a file beside this one
_MAY_NOT_MAKE_ROLES = "permission denied to create role"
_OWNER = text("""
    SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass('anomalyvfm_opt.study')
""")
_MAY_GRANT = text("""
    SELECT pg_has_role(relowner, 'MEMBER') FROM pg_class WHERE oid = to_regclass('anomalyvfm_opt.study')
""")
# What only whoever gave it can take back: where that was the administrator, the owner's REVOKE changes nothing.
_LEFT = text("""
    SELECT r.role, t.what, t.name
      FROM unnest(ARRAY[:worker, :viewer]) AS r (role),
           LATERAL (SELECT 'SCHEMA' AS what, nspname::text AS name FROM pg_namespace
                     WHERE nspname IN (:ours, current_schema()) AND has_schema_privilege(r.role, oid, 'CREATE')
                    UNION ALL
                    SELECT 'DATABASE', current_database()
                     WHERE has_database_privilege(r.role, current_database(), 'CREATE')) AS t
     ORDER BY 1, 2, 3
""")
# Who reads the tables that are still to come: that is given by roles.sql alone, and told apart by what they write.
_FIND = text("""
    SELECT DISTINCT pg_get_userbyid(d.defaclrole) AS owner, pg_get_userbyid(a.grantee) AS role,
           has_table_privilege(a.grantee, 'anomalyvfm_opt.lease', 'INSERT') AS works
      FROM pg_default_acl d, aclexplode(d.defaclacl) a JOIN pg_roles r ON r.oid = a.grantee
     WHERE d.defaclnamespace = to_regnamespace(:ours) AND d.defaclobjtype = 'r' AND a.privilege_type = 'SELECT'
       AND a.grantee <> d.defaclrole
     ORDER BY 1, 2
""")


@dataclass(frozen=True)
class Roles:
    """Their names in the database server."""

    owner: str
    worker: str = "anomalyvfm_opt_worker"
    viewer: str = "anomalyvfm_opt_viewer"


def find_roles(connection: Connection) -> list[Roles]:
    """Return the roles that were applied to this store; more than one set if there are several of a kind."""
    rows = connection.execute(_FIND, {"ours": SCHEMA}).all()
    if not rows:
        return []
    workers = [row.role for row in rows if row.works]
    viewers = [row.role for row in rows if not row.works]
    if not workers or not viewers:
        return []
    pairs = zip_longest(workers, viewers)
    return [Roles(rows[0].owner, worker or workers[-1], viewer or viewers[-1]) for worker, viewer in pairs]


def find_owner(connection: Connection) -> str:
    """Return the role that has the tables.

    Raises:
        EnvironmentMissingError: there are none.
    """
    owner: str | None = connection.scalar(_OWNER)
    if owner is None:
        raise EnvironmentMissingError("the study store has no tables", "make them: anomalyvfm-opt db upgrade")
    return owner


def may_grant(connection: Connection) -> bool:
    """Return whether the connected user is the owner of the tables, or may do what it may."""
    return bool(connection.scalar(_MAY_GRANT))


def apply_roles(engine: Engine, roles: Roles) -> None:
    """Make the roles that are missing, and give each exactly its rights; the same again is a no-op.

    Args:
        engine: of a user who has the tables, and who may make roles if one is missing.
        roles: their names.

    Raises:
        EnvironmentMissingError: the user may not do this, or may not take back what somebody else gave.
        UsageError: the names do not make three roles, or one of them may do everything anyhow.
    """
    try:
        with explained(engine.url), engine.begin() as connection:
            if not may_grant(connection):
                raise EnvironmentMissingError(
                    f"user {engine.url.username} may not give rights on the tables",
                    f"do it as the owner of the tables, user {find_owner(connection)}, or as the administrator",
                )
            grant_roles(connection, roles)
        with engine.connect() as connection:
            _check_nothing_is_left(connection, roles)
    except EnvironmentMissingError as error:
        if _MAY_NOT_MAKE_ROLES in error.message:
            raise EnvironmentMissingError(
                error.message, f"the administrator runs there: {describe_psql(roles)}"
            ) from None
        raise


def _check_nothing_is_left(connection: Connection, roles: Roles) -> None:
    left = connection.execute(_LEFT, {"worker": roles.worker, "viewer": roles.viewer, "ours": SCHEMA}).all()
    if left:
        named = ", ".join(f"{row.role} in {row.what.lower()} {row.name}" for row in left)
        statements = [
            f"REVOKE CREATE ON {row.what} {quote(row.name)} FROM PUBLIC, {quote(row.role)};" for row in left
        ]
        raise EnvironmentMissingError(
            f"the rights were set, but somebody else's grants remain: tables can be made by {named}",
            f"the administrator runs there: {' '.join(statements)}",
        )


def grant_roles(connection: Connection, roles: Roles) -> None:
    """Run store/roles.sql in the caller's transaction.

    Raises:
        UsageError: the names do not make three roles, or one of them may do everything anyhow.
        EnvironmentMissingError: workers held the tables all the time.
    """
    names = vars(roles)

    def fill_in(place: re.Match[str]) -> str:
        return _quote_text(names[place[2]]) if place[1] == "'" else quote_always(names[place[2]])

    script = re.sub(rf":(['\"])({'|'.join(names)})\1", fill_in, read_script())
    try:
        connection.execution_options(no_parameters=True).exec_driver_sql(script)
    except DBAPIError as error:
        code, reason = getattr(error.orig, "pgcode", None), str(error.orig).splitlines()[0]
        if code in _UNFIT:
            raise UsageError(reason, "see docs/operations.md, Roles") from None
        if code == _BUSY:
            raise EnvironmentMissingError(reason, "drain some workers, then repeat") from None
        raise


def read_script() -> str:
    """Return store/roles.sql with the file that it includes."""
    script = SCRIPT.read_text(encoding="utf-8")
    return _INCLUDED.sub(lambda found: SCRIPT.with_name(found[1]).read_text(encoding="utf-8"), script)


def describe_psql(roles: Roles) -> str:
    """Return the same as a command for an administrator."""
    names = " ".join(f"-v {variable}={name}" for variable, name in vars(roles).items())
    return f"psql -v ON_ERROR_STOP=1 --single-transaction {names} -f {shlex.quote(str(SCRIPT))} DATABASE"


def _quote_text(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
