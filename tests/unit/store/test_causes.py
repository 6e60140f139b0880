"""Which failures of a database are waited for."""

import pytest

from anomalyvfm_opt.store.causes import find_reason, is_passing


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("server closed the connection unexpectedly", None),
        ("SSL SYSCALL error: EOF detected", None),
        ("SSL error: unexpected eof while reading", None),
        ('could not translate host name "db" to address: Temporary failure in name resolution', None),
        ('connection to server at "db", port 5432 failed: Connection refused', None),
        ("timeout expired", None),
        ("FATAL:  the database system is starting up", None),
        ("FATAL:  sorry, too many clients already", None),
        ("FATAL:  Verbindung wird abgebrochen", "57P01"),
        ("deadlock detected", "40P01"),
    ],
)
def test_what_passes_is_waited_for(message: str, code: str | None) -> None:
    assert is_passing(message, code)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('FATAL:  password authentication failed for user "engineer"', None),
        ('FATAL:  database "vision" does not exist', None),
        ("could not extend file: No space left on device", "53100"),
        ("permission denied for table lease", "42501"),
        ("cannot execute INSERT in a read-only transaction", "25006"),
    ],
)
def test_what_a_person_must_mend_is_not(message: str, code: str | None) -> None:
    assert not is_passing(message, code)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("canceling statement due to statement timeout", "57014"),
        ("terminating connection due to transaction timeout", "25P04"),
        ("terminating connection due to idle-in-transaction timeout", "25P03"),
        ("FATAL:  terminating connection due to idle-session timeout\nserver closed the connection", "57P05"),
    ],
)
def test_a_time_limit_of_the_server_is_named(message: str, code: str) -> None:
    reason, hint = find_reason(message, code, None)
    assert reason.startswith("a time limit of the server ends our sessions or statements: ")
    assert "_timeout" in hint
