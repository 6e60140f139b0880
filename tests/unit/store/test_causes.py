"""Messages of libpq and of servers, as they were seen."""

import pytest
from sqlalchemy.engine import make_url

from anomalyvfm_opt.store.causes import find_reason

URL = make_url("postgresql://me@db.example.org:5433/vision")
AT = 'connection to server at "db.example.org" (10.0.0.9), port 5433 failed: '


@pytest.mark.parametrize(
    ("message", "code", "reason", "advice"),
    [
        (f"{AT}FATAL:  sorry, too many clients already\n", None, "too many connections", "max_connections"),
        (
            f"{AT}FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute\n",
            None,
            "too many connections",
            "fewer workers",
        ),
        (f"{AT}FATAL:  the database system is starting up\n", None, "starting or stopping", "in a moment"),
        (
            f"{AT}FATAL:  the database system is not yet accepting connections\nDETAIL:  Recovering",
            None,
            "starting or stopping",
            "in a moment",
        ),
        ("SSL connection has been closed unexpectedly\n", None, "closed the connection", "still runs"),
        ("could not receive data from server: Connection reset by peer\n", None, "closed the connection", ""),
        (
            'could not extend file "base/5/16397": No space left on device\nHINT:  Check free disk space.\n',
            "53100",
            "the server's disk is full",
            "free space",
        ),
        ("could not write to log file: disk quota\n", "53100", "the server's disk is full", "free space"),
        (
            "cannot execute INSERT in a read-only transaction\n",
            "25006",
            "takes no writes",
            "ALTER ROLE me SET default_transaction_read_only = off;",
        ),
        (
            f"{AT}SSL error: certificate verify failed\n",
            None,
            "certificate is not accepted",
            "sslrootcert=",
        ),
        (
            'root certificate file "/home/me/.postgresql/root.crt" does not exist\nEither provide the file',
            None,
            "certificate is not accepted: root certificate file",
            "sslrootcert=",
        ),
        (
            f'{AT}FATAL:  no pg_hba.conf entry for host "10.0.0.7", user "me", database "vision", no encryption\n',
            None,
            'no pg_hba.conf entry for host "10.0.0.7", user "me", database "vision", no encryption',
            "sslmode=require",
        ),
        (
            "permission denied for table trials\n",
            "42501",
            "user me lacks a right: permission denied for table trials",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, anomalyvfm_opt TO me;",
        ),
        (
            "permission denied for schema Quality\n",
            "42501",
            "permission denied for schema Quality",
            'GRANT USAGE, CREATE ON SCHEMA "Quality" TO me;',
        ),
        ("could not open a file\n", "58P01", "could not open a file", "--db"),
        ("", None, "no reason given", "--db"),
    ],
)
def test_a_message_becomes_a_reason_and_an_advice(message, code, reason, advice):
    found, hint = find_reason(message, code, URL)
    assert reason in found
    assert advice in hint
    assert "\n" not in found + hint
    assert not found.startswith(("connection to server", "FATAL"))


def test_without_the_url_the_message_tells_the_address():
    found, _ = find_reason(f"{AT}Connection refused\n\tIs the server running?", None, None)
    assert found == "nothing answers at db.example.org, port 5433"
