"""Which database, and how to connect to it: the team's PostgreSQL, or else the embedded one."""

import os
import re
from typing import Any

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.store.embedded import EmbeddedCluster
from anomalyvfm_opt.store.home import state_folder

URL_VARIABLE = "ANOMALYVFM_OPT_DB_URL"
_DRIVER = "postgresql+psycopg2"  # a plain postgresql:// means psycopg 3 under SQLAlchemy 2.1
_ACCEPTED = ("postgresql", "postgres", _DRIVER)
_SECRETS = ("password", "sslpassword")
_EXAMPLE = "write postgresql://USER@HOST:PORT/DATABASE, with the password in a file named by PGPASSFILE"
_CONNECT = {
    "connect_timeout": 10,
    "application_name": "anomalyvfm-opt",
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
# What libpq's or the server's message contains: the reason, and what to do.
_CAUSES = (
    (
        ("password authentication failed",),
        "wrong password for {user}, or no such user",
        "check the password file (PGPASSFILE, or passfile= in the URL)",
    ),
    (
        ("no password supplied",),
        "no password for {user}",
        "put it into a file of mode 0600 and name it by PGPASSFILE, or by passfile= in the URL",
    ),
    (
        ("too many clients", "remaining connection slots", "too many connections"),
        "too many connections",
        "run fewer workers, or raise max_connections on the server",
    ),
    (
        ("starting up", "shutting down", "recovery mode"),
        "the server is starting or stopping",
        "try again in a moment",
    ),
    (
        ("server closed the connection", "terminating connection", "connection already closed"),
        "the server closed the connection",
        "see whether it still runs; for the embedded one: anomalyvfm-opt db status",
    ),
    (
        ("could not translate host name",),
        "the host of {address} is not known",
        "check the host's name in --db or " + URL_VARIABLE,
    ),
    (
        (
            "Connection refused",
            "timeout expired",
            "No route to host",
            "Network is unreachable",
            "No such file or directory",
        ),
        "nothing answers at {address}",
        "start the server or check host, port and firewall; for the embedded one: anomalyvfm-opt db up",
    ),
)


def resolve_url(flag: str | None) -> str:
    """The database's URL: flag > `ANOMALYVFM_OPT_DB_URL` > the embedded database, which is started.

    Args:
        flag: value of `--db`; None if it was not given.

    Raises:
        UsageError: not a PostgreSQL URL.
        EnvironmentMissingError: the embedded database cannot be started.
    """
    given = flag if flag is not None else os.environ.get(URL_VARIABLE) or None
    if given is not None:
        return normalise_url(given, "--db" if flag is not None else URL_VARIABLE)
    cluster = EmbeddedCluster(state_folder())
    cluster.up()
    return cluster.url()


def normalise_url(given: str, source: str = "--db") -> str:
    """Spell a PostgreSQL URL with the driver that we use.

    Args:
        given: `postgresql://`, `postgres://` or `postgresql+psycopg2://`.
        source: where it came from, for the message.

    Raises:
        UsageError: another database, another driver, or not a URL.
    """
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        scheme = given.partition("://")[0] if "://" in given else "it has no ://"
        raise UsageError(f"{source}: not a database URL ({scheme})", _EXAMPLE) from None
    if url.drivername not in _ACCEPTED:
        raise UsageError(
            f"{source}: {shown(given)} is not a PostgreSQL URL for psycopg2 ({url.drivername})", _EXAMPLE
        )
    return url.set(drivername=_DRIVER).render_as_string(hide_password=False)


def shown(url: str) -> str:
    """A URL as it may be printed: without any password.

    Args:
        url: one that SQLAlchemy can read.
    """
    return make_url(url).difference_update_query(_SECRETS).render_as_string(hide_password=True)


def engine_options(url: str | None = None, pool_size: int = 2) -> dict[str, Any]:
    """What every engine on the study store is made with, Optuna's too (`engine_kwargs`).

    Args:
        url: the database's; connection settings in its query win over ours.
        pool_size: connections kept open; a worker needs two (its loop and its heartbeat).
    """
    query = make_url(url).query if url is not None else {}
    connect = {key: value for key, value in _CONNECT.items() if key not in query}
    return {"pool_size": pool_size, "pool_pre_ping": True, "connect_args": connect}


def make_engine(url: str, pool_size: int = 2) -> Engine:
    """An engine that notices broken connections; make it after a fork, not before.

    Args:
        url: from `resolve_url`; its query wins over our connection settings.
        pool_size: connections kept open.
    """
    url = normalise_url(url)
    return create_engine(url, **engine_options(url, pool_size))


def check_connection(engine: Engine) -> None:
    """Connect once.

    Raises:
        EnvironmentMissingError: why it failed in one line, and what to do.
    """
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except OperationalError as error:
        raise explain_database_error(error, engine.url) from None
    except ProgrammingError as error:  # libpq does not know a setting in the URL's query
        reason = str(error.orig).strip()
        raise UsageError(
            f"{shown(engine.url.render_as_string(hide_password=False))}: {reason}", _EXAMPLE
        ) from None


def explain_database_error(error: BaseException, url: URL | None = None) -> EnvironmentMissingError:
    """Say in one line why the database cannot be used, and what to do.

    Args:
        error: SQLAlchemy's, or one that it caused (Optuna wraps it).
        url: the database's, if known.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DBAPIError):
        cause = cause.__cause__
    reason, hint = _find_reason(str(cause.orig if cause is not None else error), url)
    name = "" if url is None else " " + shown(url.render_as_string(hide_password=False))
    return EnvironmentMissingError(f"cannot use the database{name}: {reason}", hint)


def _find_reason(message: str, url: URL | None) -> tuple[str, str]:
    """Reason and hint for what libpq said (its messages carry no code when a connection fails)."""
    if missing := re.search(r'database "(.+)" does not exist', message):
        return f"the server has no database {missing[1]!r}", f"make it: createdb {missing[1]}, or correct the URL"
    user = f"user {url.username}" if url is not None and url.username else "the user"
    address = "the server" if url is None else f"{url.host or 'the local socket'}, port {url.port or 5432}"
    for needles, reason, hint in _CAUSES:
        if any(needle in message for needle in needles):
            return reason.format(user=user, address=address), hint
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0] if lines else "no reason given", "check --db or " + URL_VARIABLE
