"""Locks that somebody else holds: nobody waits without end, and the holder is named."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import pytest
from sqlalchemy import make_url, text

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store import advisory
from anomalyvfm_opt.store.advisory import lock, locked
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.schema import upgrade_database
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import create_study, load_study
from tests.integration.conftest import REFERENCES, make_new_study, make_spec


@contextmanager
def held_by_psql(url: str, key: str) -> Iterator[int]:
    """A session of another program that took a lock and forgot it; gives its process at the server."""
    parts = make_url(url)
    passfile = str(parts.query["passfile"])
    place = {"host": parts.host, "port": parts.port, "user": parts.username, "dbname": parts.database}
    connection = psycopg2.connect(**place, passfile=passfile, application_name="a psql")
    connection.cursor().execute(f"SELECT pg_advisory_lock({key})")
    connection.commit()
    try:
        yield connection.info.backend_pid
    finally:
        connection.close()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisory, "WAIT_S", 0.3)


def test_a_creation_names_who_holds_its_lock_and_goes_on_afterwards(store_url: str) -> None:
    store = Store.at(store_url)
    new = make_new_study(make_spec())
    with held_by_psql(store_url, "hashtext('tiny/tile')") as pid:
        with pytest.raises(
            EnvironmentMissingError, match=f"process {pid} of the server, application 'a psql'"
        ) as caught:
            create_study(store, new, REFERENCES)
        assert "to create tiny/tile" in caught.value.message
        assert f"SELECT pg_terminate_backend({pid});" in caught.value.hint
    assert create_study(store, new, REFERENCES)
    assert load_study(store.engine, "tiny/tile").name == "tiny/tile"


def test_an_upgrade_names_who_holds_its_lock(store_url: str) -> None:
    engine = make_engine(store_url)
    with (
        held_by_psql(store_url, str(0x616E6F6D616C79)),
        pytest.raises(EnvironmentMissingError, match=r"needed to make tables .* user anomalyvfm_opt holds it"),
    ):
        upgrade_database(engine)
    upgrade_database(engine)
    engine.dispose()


def test_a_reader_that_left_a_transaction_open_does_not_hold_up_an_upgrade(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every worker would queue up behind the upgrade that waits."""
    monkeypatch.setattr("anomalyvfm_opt.store.schema._LOCK_WAIT_S", 1)
    engine = make_engine(store_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE anomalyvfm_opt.schema_version SET version_num = '0004'"))
        connection.execute(text("ALTER TABLE anomalyvfm_opt.study DROP COLUMN method"))
    with engine.connect() as reader:
        reader.execute(text("SELECT count(*) FROM anomalyvfm_opt.study"))
        with pytest.raises(EnvironmentMissingError, match="another session holds a lock on a table"):
            upgrade_database(engine)
    upgrade_database(engine)
    engine.dispose()


def test_a_lock_of_a_transaction_leaves_no_limit_behind(store_url: str) -> None:
    engine = make_engine(store_url)
    with engine.begin() as connection:
        lock(connection, "a name", "to try it")
        assert connection.scalar(text("SHOW lock_timeout")) == "0"
        with engine.connect() as other, pytest.raises(EnvironmentMissingError, match="needed to try it"):
            lock(other, "a name", "to try it")
    with engine.connect() as connection, locked(connection, "a name", "to try it"):
        assert connection.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")) == 1
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")) == 0
    engine.dispose()
