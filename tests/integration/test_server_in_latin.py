"""A server whose messages are not UTF-8 or not English: an outage like any other, never the end of a heartbeat."""

import logging

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.engine import check_connection, is_database_fault, is_outage, make_engine
from anomalyvfm_opt.trial.outcome import Outcome, classify
from anomalyvfm_opt.trial.patience import Patience
from anomalyvfm_opt.trial.pulse import Pulse, StopRequest, Times
from tests.latin_server import REFUSAL, refusing, refusing_in_latin


def test_it_is_an_outage_that_a_person_can_read() -> None:
    with refusing_in_latin() as url:
        engine = make_engine(url)
        with pytest.raises(OperationalError, match=REFUSAL) as caught:
            engine.connect()
        assert is_outage(caught.value)
        assert is_database_fault(caught.value)
        assert classify(caught.value).outcome is Outcome.ENVIRONMENT
        with pytest.raises(EnvironmentMissingError, match=f"may be restarting: {REFUSAL}"):
            check_connection(engine)


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        ("57P03", REFUSAL, "the server is starting or stopping"),
        ("57P03", "das Datenbanksystem startet", "the server is starting or stopping"),
        ("53300", "désolé, trop de clients sont déjà connectés", "too many connections"),
    ],
)
def test_another_language_is_understood_by_its_code(code: str, words: str, reason: str) -> None:
    with refusing(code, words) as url:
        engine = make_engine(url)
        with pytest.raises(OperationalError, match=words) as caught:
            engine.connect()
        assert is_outage(caught.value)
        with pytest.raises(EnvironmentMissingError, match=reason):
            check_connection(engine)


def test_what_a_person_has_to_mend_is_not_waited_for_in_any_language() -> None:
    with refusing("28P01", "l'authentification par mot de passe a échoué") as url:
        with pytest.raises(OperationalError, match="mot de passe") as caught:
            make_engine(url).connect()
        assert not is_outage(caught.value)


def test_it_is_waited_out(database_url: str) -> None:
    away: list[str] = []

    def ask() -> int:
        if len(away) < 2:
            with refusing_in_latin() as url:
                away.append(url)
                make_engine(url).connect()
        with make_engine(database_url).connect() as connection:
            return int(connection.scalar(text("SELECT 7")))

    assert Patience(60.0, lambda: None).run(ask) == 7
    assert len(away) == 2


def test_the_next_beat_comes(caplog: pytest.LogCaptureFixture) -> None:
    died: list[bool] = []
    with refusing_in_latin() as url, caplog.at_level(logging.WARNING):
        pulse = Pulse(make_engine(url), "w1", Times(grace_s=0.3), StopRequest(), lambda: died.append(True))
        with pulse:
            pulse._thread.join(0.6)  # type: ignore[union-attr]
    failed = [record for record in caplog.records if "heartbeat failed, will be tried again" in record.message]
    assert len(failed) >= 2
    assert not any(record.exc_info for record in failed)  # it is no bug
    assert died == []
