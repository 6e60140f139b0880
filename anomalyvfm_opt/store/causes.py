"""From what libpq or the server says to a reason and an advice in one line each."""

import re

from sqlalchemy.engine import URL

from anomalyvfm_opt.store.driver import NOT_UTF8
from anomalyvfm_opt.store.passfile import explain_no_password
from anomalyvfm_opt.store.rights import advise
from anomalyvfm_opt.store.url import read_settings

_TOO_MANY = ("too many clients", "remaining connection slots", "too many connections", "[53300]")
_STARTING = ("starting up", "shutting down", "recovery mode", "not yet accepting connections", "[57P03]")
_CLOSED = (
    "[57P0",
    "EOF detected",
    "unexpected eof",
    "server closed the connection",
    "terminating connection",
    "connection already closed",
    "connection has been closed",
    "could not receive data from server",
    "could not send data to server",
    "Connection reset by peer",
    "Connection timed out",
)
_UNREACHED = (
    "Temporary failure in name resolution",
    "Connection refused",
    "timeout expired",
    "No route to host",
    "Network is unreachable",
    "No such file or directory",
)
_PASSING = (*_TOO_MANY, *_STARTING, *_CLOSED, *_UNREACHED, NOT_UTF8, "[08", "[40001]", "[40P01]")

# What the message, or the SQLSTATE in brackets before it, contains: the reason, and what to do.
# A connection that fails has no SQLSTATE. The first that fits counts.
_CAUSES = (
    (
        (NOT_UTF8,),
        "the server cannot be understood; it may be restarting: {line}",
        "repeat in a while; its administrator makes its messages readable: SET lc_messages TO 'C' for all",
    ),
    (
        ("server does not support SSL",),
        "the URL asks for encryption, and the server has none",
        "turn ssl on at the server, or take sslmode out of the URL",
    ),
    (
        ("certificate verify failed", "root certificate file", "does not match host name"),
        "the server's certificate is not accepted: {line}",
        "name the certificate of its authority by sslrootcert= in the URL, and the host by the name in it",
    ),
    (
        ("pg_hba.conf",),
        "the server does not let {user} in from this host: {line}",
        "its administrator adds a line to pg_hba.conf; where that is hostssl, add sslmode=require to the URL",
    ),
    (
        ("password authentication failed",),
        "wrong password for {user}, or no such user",
        "check the password file{passfile} (PGPASSFILE, or passfile= in the URL)",
    ),
    (
        ("is not permitted to log in",),
        "{user} may not log in",
        "the administrator runs: ALTER ROLE {role} LOGIN;",
    ),
    (
        ("too many connections for role", "too many connections for database"),
        "{line}",
        "run fewer workers, or the administrator raises the limit: ALTER ROLE (or DATABASE) ... CONNECTION LIMIT",
    ),
    (
        _TOO_MANY,
        "too many connections",
        "run fewer workers, or raise max_connections on the server",
    ),
    (
        ("[53100]", "No space left on device", "Disk quota exceeded"),
        "the server's disk is full: {line}",
        "free space on the server, then repeat",
    ),
    (
        ("[55P03]",),
        "another session holds a lock on a table: {line}",
        "end what is open there (docs/operations.md, Roles, shows who waits for whom), then repeat",
    ),
    (
        ("[25006]", "read-only transaction"),
        "the server takes no writes: {line}",
        "a standby: name the primary. Else: ALTER ROLE {role} SET default_transaction_read_only = off;",
    ),
    (
        _STARTING,
        "the server is starting or stopping",
        "try again in a moment",
    ),
    (
        ("due to statement timeout", "due to transaction timeout", "due to idle-"),
        "a time limit of the server ends our sessions or statements: {line}",
        "its administrator lifts it: ALTER ROLE {role} SET, for the one of these that is set, statement_timeout,"
        " transaction_timeout, idle_in_transaction_session_timeout or idle_session_timeout = 0;",
    ),
    (
        _CLOSED,
        "the server closed the connection",
        "see whether it still runs; for the embedded one: anomalyvfm-opt db status",
    ),
    (
        ("could not translate host name",),
        "the host of {address} is not known",
        "check the host's name in --db or ANOMALYVFM_OPT_DB_URL",
    ),
    (
        _UNREACHED,
        "nothing answers at {address}",
        "start the server or check host, port and firewall; for the embedded one: anomalyvfm-opt db up",
    ),
)
_PREFIX = re.compile(r"^connection to server .*? failed: |\b(?:FATAL|ERROR):\s+")
_SERVER = re.compile(r'connection to server at "([^"]+)"(?: \([^)]*\))?, port (\d+)')


def find_reason(message: str, code: str | None, url: URL | None) -> tuple[str, str]:
    """Reason and hint for a message of libpq or of the server.

    Args:
        message: all of it; may have several lines.
        code: its SQLSTATE, if the server sent one.
        url: of the database, if known.
    """
    if missing := re.search(r'database "(.+)" does not exist', message):
        return f"the server has no database {missing[1]!r}", f"make it: createdb {missing[1]}, or correct the URL"
    role = (url.username if url is not None else None) or ""
    names = {
        "user": f"user {role}" if role else "the user",
        "role": role or "ROLE",
        "address": _describe_address(message, url),
        "line": _strip(message),
        "passfile": _describe_passfile(message),
    }
    if "no password supplied" in message:
        reason, hint = explain_no_password(url)
        return f"no password for {names['user']}" + (f": {reason}" if reason else ""), hint
    if code == "42501" or "permission denied for" in message:
        reason = f"{names['user']} lacks a right: {names['line']}"
        if "must be owner" in message:
            return reason, "run it as the owner of the tables: the role that made them"
        return reason, advise(message, names["role"])
    for needles, reason, hint in _CAUSES:
        if any(needle in f"[{code}] {message}" for needle in needles):
            return reason.format(**names), hint.format(**names)
    return names["line"] or "no reason given", "check --db or ANOMALYVFM_OPT_DB_URL"


def is_passing(message: str, code: str | None) -> bool:
    """Return whether it may be gone by itself in a while: a server that restarts, a full house, a broken network.

    Args:
        message: of libpq or the server.
        code: its SQLSTATE, if the server sent one.
    """
    return any(needle in f"[{code}] {message}" for needle in _PASSING)


def _strip(message: str) -> str:
    """Return the first line, without what libpq and the server put before the point."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return _PREFIX.sub("", lines[0]) if lines else ""


def _describe_address(message: str, url: URL | None) -> str:
    if url is not None:
        return _describe_places(url)
    found = _SERVER.search(message)
    return f"{found[1]}, port {found[2]}" if found else "the server"


def _describe_places(url: URL) -> str:
    """Return where a URL leads: a host, a local socket, or several."""
    settings = read_settings(url)
    hosts = settings.get("host", "").split(",")
    ports = settings.get("port", "").split(",")
    if len(ports) < len(hosts):
        ports = ports[:1] * len(hosts)
    places = zip(hosts, ports, strict=False)
    return " or ".join(f"{_describe_host(host)}, port {port or 5432}" for host, port in places)


def _describe_host(host: str) -> str:
    return f"the local socket in {host}" if host.startswith("/") else host or "the local socket"


def _describe_passfile(message: str) -> str:
    found = re.search(r'password retrieved from file "(.+)"', message)
    return f" {found[1]}" if found else ""
