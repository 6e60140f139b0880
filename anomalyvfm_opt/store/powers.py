"""What the roles of a store can do beside its tables, and whether an older version of this program made them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from anomalyvfm_opt.store.roles import GUARDS, Roles

_VERSION = text("SELECT to_regprocedure('anomalyvfm_opt.guards_version()') IS NOT NULL")
_NUMBER = text("SELECT anomalyvfm_opt.guards_version()")
# What everybody may by PostgreSQL's defaults. One function stands for its kind: roles.sql takes all of them.
_POWERS = text("""
    SELECT r.role, p.may
      FROM unnest(CAST(:names AS text[])) AS r (role),
           LATERAL (VALUES
               (1, 'make temporary tables', has_database_privilege(r.role, current_database(), 'TEMPORARY')),
               (2, 'take advisory locks', has_function_privilege(r.role, 'pg_advisory_lock(bigint)', 'EXECUTE')),
               (3, 'make large objects', has_function_privilege(r.role, 'lo_create(oid)', 'EXECUTE'))
           ) AS p (place, may, is_so)
     WHERE p.is_so
     ORDER BY 1, p.place
""")
# A role may set these for its own next sessions, and so for every worker that shares it.
_SETTINGS = text("""
    SELECT pg_get_userbyid(s.setrole) AS role, c.line
      FROM pg_db_role_setting s, unnest(s.setconfig) AS c (line)
     WHERE pg_get_userbyid(s.setrole) = ANY (CAST(:names AS text[]))
       AND split_part(c.line, '=', 1) <> 'temp_file_limit'
     ORDER BY 1, 2
""")


@dataclass(frozen=True)
class Power:
    """Something that a role can do and has no need of."""

    role: str
    may: str


@dataclass(frozen=True)
class RoleSetting:
    """What a role's sessions begin with: `line` is NAME=VALUE."""

    role: str
    line: str


def is_guarded_now(connection: Connection) -> bool:
    """Return whether the triggers of store/guards.sql are those of this program."""
    return bool(connection.scalar(_VERSION)) and connection.scalar(_NUMBER) == GUARDS


def list_powers(connection: Connection, roles: Sequence[Roles]) -> list[Power]:
    """Return what workers and viewers can do beside their work, by role."""
    rows = connection.execute(_POWERS, {"names": _list_names(roles)})
    return [Power(row.role, row.may) for row in rows]


def list_settings(connection: Connection, roles: Sequence[Roles]) -> list[RoleSetting]:
    """Return the settings that sessions of workers and viewers begin with, beside that of roles.sql."""
    rows = connection.execute(_SETTINGS, {"names": _list_names(roles)})
    return [RoleSetting(row.role, row.line) for row in rows]


def _list_names(roles: Sequence[Roles]) -> list[str]:
    return sorted({name for each in roles for name in (each.worker, each.viewer)})
