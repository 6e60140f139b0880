"""A store that waits out an outage, before one whose answers the test writes."""

import logging

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.trial import patience
from anomalyvfm_opt.trial.patience import wait_out


class Flaky:
    """Fails as often as it is told to, then answers what it was asked."""

    def __init__(self, failures: int, message: str = "server closed the connection unexpectedly") -> None:
        self.failures = failures
        self.message = message
        self.calls: list[tuple[int, int]] = []

    def add(self, first: int, *, second: int = 0) -> int:
        self.calls.append((first, second))
        if len(self.calls) <= self.failures:
            raise OperationalError("SELECT", {}, psycopg2.OperationalError(self.message))
        return first + second

    def nothing(self) -> None:
        """An operation without an answer."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_S", 0.001)
    monkeypatch.setattr(patience, "_LONGEST_S", 0.001)
    logging.getLogger(patience.__name__).setLevel(logging.ERROR)


@given(st.integers(0, 5), st.integers(), st.integers())
def test_an_operation_is_repeated_with_its_arguments_until_it_answers(
    failures: int, first: int, second: int
) -> None:
    store = Flaky(failures)
    assert wait_out(store, 60.0, lambda: None).add(first, second=second) == first + second
    assert store.calls == [(first, second)] * (failures + 1)


def test_an_outage_that_does_not_end_does() -> None:
    store = Flaky(10**6)
    with pytest.raises(EnvironmentMissingError, match="the server closed the connection"):
        wait_out(store, 0.02, lambda: None).add(1)
    assert len(store.calls) > 1


def test_what_is_no_outage_is_passed_on_at_once() -> None:
    store = Flaky(1, 'database "vision" does not exist')
    with pytest.raises(OperationalError):
        wait_out(store, 60.0, lambda: None).add(1)
    assert len(store.calls) == 1


def test_whoever_waits_hears_what_it_is_asked() -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        wait_out(Flaky(1), 60.0, stop).add(1)


def test_it_has_the_operations_of_what_it_stands_before_and_no_others() -> None:
    patient = wait_out(Flaky(0), 60.0, lambda: None)
    assert patient.nothing() is None  # type: ignore[func-returns-value]
    with pytest.raises(AttributeError):
        patient.multiply  # type: ignore[attr-defined]  # noqa: B018


def test_what_is_no_operation_is_not_passed_on() -> None:
    with pytest.raises(AttributeError, match="message is no operation of Flaky"):
        _ = wait_out(Flaky(0), 1.0, lambda: None).message
