"""Variables of the environment that libpq reads at each connection, beside the URL."""

import os

from sqlalchemy.engine import URL

from anomalyvfm_opt.store.url import read_settings

# PostgreSQL 18's documentation, "Environment Variables" of libpq: variable -> the setting that stands before it
_VARIABLES = {
    "PGAPPNAME": "application_name",
    "PGCHANNELBINDING": "channel_binding",
    "PGCLIENTENCODING": "client_encoding",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGDATABASE": "dbname",
    "PGDATESTYLE": "",
    "PGGEQO": "",
    "PGGSSDELEGATION": "gssdelegation",
    "PGGSSENCMODE": "gssencmode",
    "PGGSSLIB": "gsslib",
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGKRBSRVNAME": "krbsrvname",
    "PGLOADBALANCEHOSTS": "load_balance_hosts",
    "PGMAXPROTOCOLVERSION": "max_protocol_version",
    "PGMINPROTOCOLVERSION": "min_protocol_version",
    "PGOPTIONS": "options",
    "PGPASSFILE": "passfile",
    "PGPASSWORD": "password",
    "PGPORT": "port",
    "PGREQUIREAUTH": "require_auth",
    "PGREQUIREPEER": "requirepeer",
    "PGREQUIRESSL": "sslmode",
    "PGSERVICE": "service",
    "PGSERVICEFILE": "servicefile",
    "PGSSLCERT": "sslcert",
    "PGSSLCERTMODE": "sslcertmode",
    "PGSSLCOMPRESSION": "sslcompression",
    "PGSSLCRL": "sslcrl",
    "PGSSLCRLDIR": "sslcrldir",
    "PGSSLKEY": "sslkey",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMODE": "sslmode",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLSNI": "sslsni",
    "PGSYSCONFDIR": "",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGTZ": "",
    "PGUSER": "user",
}
_OURS = {"PGAPPNAME", "PGCLIENTENCODING", "PGCONNECT_TIMEOUT"}  # each connection has a value of its own for these


def forget_variables() -> None:
    """Drop them from the environment of this process and of its children: they are meant for another server."""
    for name in _VARIABLES.keys() & os.environ.keys():
        del os.environ[name]


def list_heeded(url: URL | None) -> list[str]:
    """Return the names of those that are set and change a connection, in order.

    Args:
        url: of the database, whose settings stand before variables; None if it is not known.
    """
    settings = {} if url is None else read_settings(url)
    heeded = _VARIABLES.keys() & os.environ.keys() - _OURS
    return sorted(name for name in heeded if os.environ[name] and _VARIABLES[name] not in settings)
