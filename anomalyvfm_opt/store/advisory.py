"""Advisory locks: one process at a time makes the tables, or plans the trials of a study.

Whoever may connect could take such a lock, by PostgreSQL's defaults (store/roles.sql takes that away). So nobody
waits for one without end, and who waited in vain hears who holds it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from anomalyvfm_opt.errors import EnvironmentMissingError

WAIT_S = 60.0  # for work of seconds
_NOT_AVAILABLE = "55P03"
_KEY = text("SELECT hashtext(:name)::bigint")
_LIMIT = text("SELECT set_config('lock_timeout', :limit, :is_local)")
_TAKE = {
    True: text("SELECT pg_advisory_xact_lock(:key)"),
    False: text("SELECT pg_advisory_lock(:key)"),
}
_RELEASE = text("SELECT pg_advisory_unlock(:key)")
# When a session of another role began is told to an administrator alone.
_HOLDERS = text("""
    SELECT a.usename AS role, a.pid, a.application_name AS application,
           to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ') AS since
      FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_database d ON d.oid = l.database
     WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database() AND l.objsubid = 1
       AND (l.classid::bigint << 32) | l.objid::bigint = :key
     ORDER BY a.pid
""")


@contextmanager
def locked(connection: Connection, what: int | str, purpose: str) -> Iterator[None]:
    """Hold a lock of this session for the length of a `with`; the server frees it if we die.

    Nothing that is open on the connection is committed by it but what the caller commits.

    Args:
        connection: without an open transaction.
        what: the lock's key, or the name of what it stands for.
        purpose: what it is for, as in "to create it"; said when it is not to be had.

    Raises:
        EnvironmentMissingError: another session holds it all the time.
    """
    key = _find_key(connection, what)
    _take(connection, key, purpose, is_local=False)
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(_RELEASE, {"key": key})
        connection.commit()


def lock(connection: Connection, what: int | str, purpose: str) -> None:
    """Take a lock until the end of the caller's transaction; see `locked`."""
    _take(connection, _find_key(connection, what), purpose, is_local=True)


def _find_key(connection: Connection, what: int | str) -> int:
    return what if isinstance(what, int) else int(connection.scalar(_KEY, {"name": what}))


def _take(connection: Connection, key: int, purpose: str, *, is_local: bool) -> None:
    before = connection.scalar(text("SHOW lock_timeout"))
    try:
        with connection.begin_nested():
            connection.execute(_LIMIT, {"limit": f"{WAIT_S * 1000:.0f}ms", "is_local": True})
            connection.execute(_TAKE[is_local], {"key": key})
            connection.execute(_LIMIT, {"limit": before, "is_local": True})
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != _NOT_AVAILABLE:
            raise
        raise _explain(connection, key, purpose) from None


def _explain(connection: Connection, key: int, purpose: str) -> EnvironmentMissingError:
    holders = connection.execute(_HOLDERS, {"key": key}).all()
    message = f"a lock that is needed {purpose} was not to be had for {WAIT_S:g} s"
    if not holders:
        return EnvironmentMissingError(message, "it is free now: repeat the command")
    holder = holders[0]
    since = f", connected since {holder.since}" if holder.since else ""
    return EnvironmentMissingError(
        f"{message}: user {holder.role} holds it (process {holder.pid} of the server, application"
        f" {holder.application!r}{since})",
        f"let that program end, or the administrator ends its session: SELECT pg_terminate_backend({holder.pid});",
    )
