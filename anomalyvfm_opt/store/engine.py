"""Which database, and how to connect to it: the team's PostgreSQL, or else the embedded one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.store.causes import find_reason, is_passing
from anomalyvfm_opt.store.driver import ReadableConnection
from anomalyvfm_opt.store.libpq_variables import list_heeded
from anomalyvfm_opt.store.url import EXAMPLE, normalise_url, shown

_CODES_OF_FAULTS = ("42501", "25006")  # no right; read-only: both are not among psycopg2's operational errors
_CONNECT = {
    "connect_timeout": 10,
    "application_name": "anomalyvfm-opt",
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,  # ms that sent bytes may stay unanswered: as long as the keepalives take
}


def engine_options(url: str | None = None, pool_size: int = 2) -> dict[str, Any]:
    """Return what every engine on the study store is made with, Optuna's too (`engine_kwargs`).

    Args:
        url: the database's; connection settings in its query win over ours.
        pool_size: connections kept open; a worker needs two (its loop and its heartbeat).
    """
    query = make_url(url).query if url is not None else {}
    connect: dict[str, Any] = {key: value for key, value in _CONNECT.items() if key not in query}
    connect |= {"client_encoding": "UTF8", "connection_factory": ReadableConnection}
    return {"pool_size": pool_size, "pool_pre_ping": True, "connect_args": connect}


def make_engine(url: str, pool_size: int = 2) -> Engine:
    """Return an engine that notices broken connections; make it after a fork, not before.

    Args:
        url: from `store.store.resolve_url`; its query wins over our connection settings.
        pool_size: connections kept open.
    """
    url = normalise_url(url)
    return create_engine(url, **engine_options(url, pool_size))


@contextmanager
def autocommit(engine: Engine) -> Iterator[Connection]:
    """Return a connection on which each call is a transaction, with no more round trips than the call itself.

    Statements that are sent in one call, with semicolons between, share a transaction, but each sees what was
    committed before it began: the first waits for a row's lock, and the next works on what the lock's last owner
    left.
    """
    with engine.connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


def check_connection(engine: Engine) -> None:
    """Connect once.

    Raises:
        EnvironmentMissingError: why it failed in one line, and what to do; or the database cannot keep all text.
    """
    try:
        with engine.connect() as connection:
            encoding = connection.scalar(text("SELECT current_setting('server_encoding')"))
    except OperationalError as error:
        raise explain_database_error(error, engine.url) from None
    except ProgrammingError as error:  # libpq does not know a setting in the URL's query
        reason = str(error.orig).strip()
        raise UsageError(f"{shown(engine.url.render_as_string(hide_password=False))}: {reason}", EXAMPLE) from None
    if encoding != "UTF8":
        raise EnvironmentMissingError(
            f"the database {engine.url.database} keeps text as {encoding}, which cannot hold all names",
            "make another one: createdb --encoding UTF8 --template template0 NAME",
        )


def explain_database_error(error: BaseException, url: URL | None = None) -> EnvironmentMissingError:
    """Say in one line why the database cannot be used, and what to do.

    Args:
        error: SQLAlchemy's, or one that it caused (Optuna wraps it).
        url: the database's, if known.
    """
    cause = _find_cause(error)
    message = str(cause.orig if cause is not None else error)
    reason, hint = find_reason(message, _read_code(cause), url)
    name = "" if url is None else " " + shown(url.render_as_string(hide_password=False))
    is_connecting = cause is not None and cause.statement is None
    if is_connecting and (heeded := list_heeded(url)):
        hint += f"; the environment has {' and '.join(heeded)}, which libpq heeds, too"
    return EnvironmentMissingError(f"cannot use the database{name}: {reason}", hint)


def is_database_fault(error: BaseException) -> bool:
    """Return whether the database is away, full or closed to us, and not a statement wrong.

    Args:
        error: SQLAlchemy's, or one that it caused (Optuna wraps it).
    """
    cause = _find_cause(error)
    return isinstance(cause, OperationalError | InterfaceError) or _read_code(cause) in _CODES_OF_FAULTS


def is_outage(error: BaseException) -> bool:
    """Return whether an error says that the database is away and may come back, so that to wait makes sense.

    Args:
        error: SQLAlchemy's, or one that it caused (Optuna wraps it).
    """
    cause = _find_cause(error)
    return cause is not None and is_passing(str(cause.orig), _read_code(cause))


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn what the database refuses within a `with` into an error for a person.

    Raises:
        EnvironmentMissingError: the database is away, full or closed to us.
    """
    try:
        yield
    except DBAPIError as error:
        if not is_database_fault(error):
            raise
        raise explain_database_error(error, url) from None


def _find_cause(error: BaseException) -> DBAPIError | None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DBAPIError):
        cause = cause.__cause__
    return cause


def _read_code(cause: DBAPIError | None) -> str | None:
    """Return the SQLSTATE; None if the server sent none, as when a connection fails."""
    code: str | None = getattr(cause.orig, "pgcode", None) if cause is not None else None
    return code
