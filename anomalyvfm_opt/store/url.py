"""The URL of a database: understood, or refused for what is wrong in it, before anything is connected to.

A password in it would be seen by other users (in argv) and in logs. So it is refused, and what may be one is never
shown.
"""

import os
import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote

from psycopg2 import OperationalError as OperationalErrorOfDriver  # type: ignore[import-untyped]
from psycopg2 import ProgrammingError as ProgrammingErrorOfDriver
from psycopg2.extensions import connection as ConnectionOfDriver  # type: ignore[import-untyped]
from psycopg2.extensions import make_dsn, parse_dsn
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.spec.shown import shorten, show_value

URL_VARIABLE = "ANOMALYVFM_OPT_DB_URL"
EXAMPLE = "write postgresql://USER@HOST:PORT/DATABASE, with the password in a file named by PGPASSFILE"
_DRIVER = "postgresql+psycopg2"  # a plain postgresql:// means psycopg 3 under SQLAlchemy 2.1
_ACCEPTED = ("postgresql", "postgres", _DRIVER)
_SECRETS = ("password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret")
_NOT_SHOWN = (*_SECRETS, "options")  # which may hold anything
_LISTS = ("host", "port", "hostaddr")  # settings that may be there several times
_SETTINGS = "see libpq's parameter key words, in lower case, as sslmode; a password goes into a file (PGPASSFILE)"
_WHOLE_NUMBERS = {  # libpq reads these only when it connects by TCP
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
}
_ELSEWHERE = {"PGHOSTADDR", "PGSERVICE"}  # variables by which libpq would go to a server all the same
_NOWHERE = "/anomalyvfm-opt-looks-at-settings-only"  # no folder, so that no server is asked


def read_variable() -> str | None:
    """Return what the variable says; None where it is not set, or is blank."""
    return os.environ.get(URL_VARIABLE, "").strip() or None


def normalise_url(given: str, source: str = "--db") -> str:
    """Spell a PostgreSQL URL with the driver that we use.

    Args:
        given: `postgresql://`, `postgres://` or `postgresql+psycopg2://`; blanks and line feeds around it are cut.
        source: where it came from, for the message.

    Raises:
        UsageError: another database, another driver, not a URL, a password in it, or a setting that cannot work.
    """
    given = given.strip()
    url = _parse(given, source)
    _refuse_password(url, given, source)
    _refuse_unknown(url, source)
    if url.drivername not in _ACCEPTED:
        raise UsageError(
            f"{source}: {shown(given)} is not a PostgreSQL URL for psycopg2 ({url.drivername})", EXAMPLE
        )
    url = _place_socket(url.set(drivername=_DRIVER))
    _check_settings(url, _find_arguments(url, source), source)
    return url.render_as_string(hide_password=False)


def shown(url: str) -> str:
    """Return a URL as it may be printed: without any password, and without what may hold one.

    Args:
        url: one that SQLAlchemy can read.
    """
    return make_url(url).difference_update_query(_NOT_SHOWN).render_as_string(hide_password=True)


def read_settings(url: URL) -> dict[str, str]:
    """Return libpq's settings of a URL, such as host, port, user and dbname; hosts and ports with commas between.

    Args:
        url: from `normalise_url`.
    """
    arguments = url.get_dialect()().create_connect_args(url)[1]
    return {key: str(value) for key, value in arguments.items()}


def _parse(given: str, source: str) -> URL:
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        fault = "it cannot be read" if "://" in given else "it has no ://"
        if "," in given.partition("://")[2].partition("/")[0]:
            fault += "; several hosts are written ?host=HOST:PORT&host=HOST:PORT"
        raise UsageError(f"{source}: not a database URL ({fault})", EXAMPLE) from None
    values = [url.username, url.password, url.host, url.database, *url.query, *_list_values(url)]
    if any(value and not value.isprintable() for value in values):
        raise UsageError(f"{source}: the URL has a line feed or another control character in it", EXAMPLE)
    return url


def _list_values(url: URL) -> list[str]:
    """Return the values of all settings after the ?."""
    return [value for values in url.query.values() for value in ((values,) if isinstance(values, str) else values)]


def _refuse_password(url: URL, given: str, source: str) -> None:
    """Refuse a password in a URL. No part of the URL is shown here.

    An unquoted / or @ in a password moves it into the host or the database; an @ of theirs is written %40. An
    unquoted ? within a setting begins what was meant for another one.
    """
    before = given.partition("?")[0]
    is_misread = "@" in (url.host or "") or before.count("@") > (url.username is not None)
    is_nested = any("?" in value for value in _list_values(url))
    is_within = any("password=" in value.lower() for value in _list_values(url))
    if url.password is None and not (is_misread or is_nested or is_within) and not set(_SECRETS) & set(url.query):
        return
    if "sslpassword" in url.query:
        hint = "put sslpassword into a service file (PGSERVICEFILE), or use a key without a passphrase"
    else:
        hint = "take it out; write HOST:PORT:DATABASE:USER:PASSWORD into a file of mode 0600, named by PGPASSFILE"
    what = "has a second ? in it, behind which a password may stand" if is_nested else "has a password in it"
    raise UsageError(f"{source}: the URL {what}", hint)


def _refuse_unknown(url: URL, source: str) -> None:
    """Refuse what libpq does not know, such as `?PASSWORD=`: it may be a secret, so none of it is shown."""
    if not all(_is_setting(key) for key in url.query):
        raise UsageError(
            f"{source}: after its ? the URL has a setting that PostgreSQL's client does not know"
            " (not shown: it may be a secret)",
            _SETTINGS,
        )
    if "search_path" in str(url.query.get("options", "")):
        raise UsageError(
            f"{source}: the URL's options set search_path",
            "leave it out: the study store lies in the schemas public and anomalyvfm_opt",
        )
    for key, values in url.query.items():
        if key not in _LISTS and not isinstance(values, str):
            raise UsageError(f"{source}: the URL has {key} {len(values)} times", "give it once")


def _is_setting(key: str) -> bool:
    try:
        parse_dsn(f"{key}=''")
    except ProgrammingErrorOfDriver:
        return False
    return key.isidentifier()


def _place_socket(url: URL) -> URL:
    """Return the URL with the folder of a local socket where SQLAlchemy wants it: `%2Frun` as ?host=/run."""
    folder = unquote(url.host or "")
    if not folder.startswith("/"):
        return url
    placed = URL.create(url.drivername, username=url.username, database=url.database, query=url.query)
    return placed.update_query_dict({"host": folder} | ({} if url.port is None else {"port": str(url.port)}))


def _find_arguments(url: URL, source: str) -> dict[str, str]:
    """Return what libpq is given.

    Raises:
        UsageError: hosts and ports do not go together, or one of them is none.
    """
    try:
        arguments = read_settings(url)
    except (ArgumentError, ValueError) as error:
        raise UsageError(
            f"{source}: the URL's hosts and ports cannot be read: {shorten(str(error))}",
            "several hosts are written ?host=HOST:PORT&host=HOST:PORT",
        ) from None
    ports = arguments.get("port", "").split(",")
    if url.port is not None:
        ports.append(str(url.port))  # SQLAlchemy takes 0 for none
    for port in filter(None, ports):
        if not (port.isdecimal() and 1 <= int(port) <= 65535):
            raise UsageError(f"{source}: the URL has the port {show_value(port)}", "ports are 1 to 65535")
    return arguments


def _check_settings(url: URL, arguments: dict[str, Any], source: str) -> None:
    """Refuse a value that libpq refuses whatever the server is: it is asked to connect where no server can be.

    A service names settings of its own, an address perhaps, and is left to the real connection.
    """
    for address in filter(None, arguments.get("hostaddr", "").split(",")):
        try:
            ip_address(address)
        except ValueError:
            raise UsageError(f"{source}: hostaddr={shorten(address)} is no address", "such as 10.0.0.5") from None
    for key in _WHOLE_NUMBERS & arguments.keys():
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", arguments[key]):
            raise UsageError(f"{source}: {key}={shorten(arguments[key])} is no whole number", "such as 10")
    if not url.query or "service" in arguments or _ELSEWHERE & os.environ.keys():
        return
    elsewhere = {key: value for key, value in arguments.items() if key not in _LISTS}
    try:
        ConnectionOfDriver(make_dsn(**elsewhere, host=_NOWHERE)).close()
    except OperationalErrorOfDriver as error:
        if _NOWHERE not in (reason := str(error).strip()):
            raise UsageError(f"{source}: {shorten(reason)}", _SETTINGS) from None
