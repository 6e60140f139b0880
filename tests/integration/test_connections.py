"""Connections that work, and those that do not."""

import os
import socket
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.engine import check_connection, explain_database_error, make_engine

_BREAK_OFF = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"


def refuse(url: str) -> EnvironmentMissingError:
    engine = make_engine(url)
    with pytest.raises(EnvironmentMissingError) as caught:
        check_connection(engine)
    engine.dispose()
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


def changed(url: str, **parts: object) -> str:
    return make_url(url).set(**parts).render_as_string(hide_password=False)


def test_round_trip_survives_broken_connections(database_url: str) -> None:
    engine = make_engine(database_url)
    check_connection(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE words (word text)"))
        connection.execute(text("INSERT INTO words VALUES ('Größe')"))
        name = connection.execute(text("SELECT current_setting('application_name')")).scalar()
    assert name == "anomalyvfm-opt"
    other = make_engine(database_url)
    with other.begin() as connection:
        connection.execute(text(f"{_BREAK_OFF} AND datname = current_database()"))
    other.dispose()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT word FROM words")).scalar() == "Größe"
    engine.dispose()


def test_no_such_database(postgres_url: str) -> None:
    assert "the server has no database 'elsewhere'" in refuse(changed(postgres_url, database="elsewhere")).message


def test_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, so nobody else is there, and not listening
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        error = refuse(f"postgresql://me@127.0.0.1:{port}/db")
    assert f"nothing answers at 127.0.0.1, port {port}" in error.message


def test_no_such_host() -> None:
    assert "no-such-host.invalid" in refuse("postgresql://me@no-such-host.invalid/db").message


def test_no_such_socket(tmp_path: Path) -> None:
    assert "nothing answers" in refuse(f"postgresql://me@/db?host={tmp_path}").message


def test_an_error_that_another_library_wrapped() -> None:
    try:
        try:
            make_engine("postgresql://me@127.0.0.1:1/db").connect()
        except Exception as error:
            raise RuntimeError("An exception is raised during the commit.") from error
    except RuntimeError as error:
        explained = explain_database_error(error)
    assert explained.message == "cannot use the database: nothing answers at 127.0.0.1, port 1"
    assert os.linesep not in str(explained)
