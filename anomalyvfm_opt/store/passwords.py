"""Passwords of database roles: set so that neither the server's log nor argv ever shows one."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from psycopg2.extensions import encrypt_password  # type: ignore[import-untyped]
from sqlalchemy import Connection, Engine

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.engine import explained
from anomalyvfm_opt.store.passfile import read_passwords
from anomalyvfm_opt.store.rights import quote_always


def find_passwords(paths: Sequence[Path], names: Collection[str]) -> Mapping[str, str]:
    """Return what password files hold for roles: name -> password.

    Args:
        paths: in libpq's format; each has a line for one of the roles at least.
        names: of the roles; lines of others are left.

    Raises:
        UsageError: a file cannot be read, or has no line for any of them.
    """
    found: dict[str, str] = {}
    for path in paths:
        held = {role: password for role, password in read_passwords(path).items() if role in names and password}
        if not held:
            raise UsageError(
                f"{path} has no password for {' or '.join(sorted(names))}",
                "write a line HOST:PORT:DATABASE:ROLE:PASSWORD into it",
            )
        found |= held
    return found


def set_passwords(engine: Engine, passwords: Mapping[str, str]) -> None:
    """Give roles their passwords, all of them or none.

    Args:
        engine: of a user who may.
        passwords: name -> password.

    Raises:
        EnvironmentMissingError: the user may not.
    """
    with explained(engine.url), engine.begin() as connection:
        for role, password in passwords.items():
            set_password(connection, role, password)


def set_password(connection: Connection, role: str, password: str) -> None:
    """Set a password as `\\password` of psql does: what the server gets to see, and to log, is not it."""
    raw = connection.connection.driver_connection
    verifier = encrypt_password(password, role, raw, "scram-sha-256")
    statement = f"ALTER ROLE {quote_always(role)} PASSWORD '{verifier}'"
    connection.execution_options(no_parameters=True).exec_driver_sql(statement)
