"""What answers depend on is the session's own, whatever a database, a role or the environment say."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import OperationalError

from anomalyvfm_opt.store.engine import autocommit, explain_database_error, make_engine
from tests.integration.databases import execute

SETTINGS = {
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "extra_float_digits": "1",
    "search_path": "public",
}
ODD = {
    "default_transaction_isolation": "'repeatable read'",
    "default_transaction_deferrable": "on",
    "extra_float_digits": "-15",
    "search_path": "pg_catalog",
}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Of a database that sets all of them otherwise."""
    name = make_url(database_url).database
    for setting, value in ODD.items():
        execute(database_url, f'ALTER DATABASE "{name}" SET {setting} = {value}')
    made = make_engine(database_url)
    yield made
    made.dispose()


def test_settings_of_the_database_do_not_count(engine: Engine) -> None:
    for _ in range(2):
        with engine.connect() as connection:
            found = {name: connection.scalar(text(f"SHOW {name}")) for name in SETTINGS}
            assert found == SETTINGS
            assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"
            assert connection.scalar(text("SELECT 0.034722222222222224::float8")) == 0.034722222222222224
            connection.rollback()
            connection.invalidate()  # the next one is a new session


def test_settings_of_the_environment_do_not_count(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c extra_float_digits=0 -c default_transaction_isolation=serializable")
    engine = make_engine(database_url)
    with engine.connect() as connection:
        assert {name: connection.scalar(text(f"SHOW {name}")) for name in SETTINGS} == SETTINGS
    engine.dispose()


def test_who_waits_for_a_lock_sees_what_its_last_owner_left(engine: Engine) -> None:
    """As tickets of a budget are taken: lock a row and count in one call; else more are taken than there are."""
    take = text(
        "SELECT FROM shop WHERE id = 1 FOR UPDATE;"
        "INSERT INTO ticket SELECT 1 WHERE (SELECT count(*) FROM ticket) < 3"
    )
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE shop (id int); INSERT INTO shop VALUES (1); CREATE TABLE ticket (id int)")
        )

    def take_one() -> None:
        with autocommit(engine) as connection:
            connection.execute(take)

    threads = [threading.Thread(target=take_one) for _ in range(8)]
    with engine.connect() as holder:
        holder.execute(text("SELECT FROM shop FOR UPDATE"))
        for thread in threads:
            thread.start()
        with engine.connect() as watcher:
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while watcher.scalar(waiting) < 4:  # as many as the pool lets in at least
                watcher.rollback()
        holder.rollback()
    for thread in threads:
        thread.join()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM ticket")) == 3


def test_a_time_limit_of_the_server_is_named(database_url: str) -> None:
    execute(database_url, f'ALTER DATABASE "{make_url(database_url).database}" SET statement_timeout = 50')
    engine = make_engine(database_url)
    with pytest.raises(OperationalError) as caught, engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(1)"))
    fault = explain_database_error(caught.value)
    engine.dispose()
    assert "a time limit of the server" in fault.message
    assert "statement_timeout" in fault.hint
    assert fault.exit_code == 3
