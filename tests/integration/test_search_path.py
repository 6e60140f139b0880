"""Two sessions see one store, whatever role, database and environment say of search paths and encodings."""

import pytest
from sqlalchemy import create_engine, make_url, text

from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.store import Store, open_store
from tests.conftest import fresh_database
from tests.integration.databases import execute
from tests.integration.program import Program

_SCHEMAS = "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename IN ('studies', 'trials', 'alembic_version')"


@pytest.fixture
def misled(database_url: str) -> str:
    """An empty database that sends whoever connects to a schema of another name."""
    execute(database_url, "CREATE SCHEMA mine")
    execute(database_url, f'ALTER DATABASE "{make_url(database_url).database}" SET search_path = mine, public')
    return database_url


def test_a_database_of_another_search_path_has_the_tables_where_others_have_them(misled: str) -> None:
    plain = create_engine(misled)
    with plain.connect() as connection:
        assert connection.scalar(text("SHOW search_path")) == "mine, public"
    plain.dispose()
    store = open_store(misled)
    assert [row[0] for row in execute(misled, _SCHEMAS)] == ["public"]
    store.storage.create_new_study([], "one")
    again = Store.at(misled)
    assert [study.study_name for study in again.storage.get_all_studies()] == ["one"]
    for each in (store, again):
        each.engine.dispose()
        each.storage.engine.dispose()


def test_a_search_path_stays_after_a_rollback_and_a_new_session(misled: str) -> None:
    engine = make_engine(misled)
    for _ in range(2):
        with engine.connect() as connection:
            connection.rollback()
            assert connection.scalar(text("SHOW search_path")) == "public"
            connection.invalidate()  # the next one is a new session
    engine.dispose()


def test_variables_of_the_environment_change_neither_path_nor_encoding(
    program: Program, misled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(misled)
    store.storage.create_new_study([], "größer/Ω")
    store.storage.engine.dispose()
    store.engine.dispose()
    monkeypatch.setenv("PGOPTIONS", "-csearch_path=nowhere")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    storage = Store.at(misled).storage
    assert [study.study_name for study in storage.get_all_studies()] == ["größer/Ω"]
    storage.engine.dispose()
    listed = program.run_here("study", "list", "--db", misled)
    assert listed.returncode == 0, listed.stderr


def test_tables_of_optuna_in_another_schema_are_not_made_once_more(program: Program, database_url: str) -> None:
    open_store(database_url).engine.dispose()
    execute(database_url, "CREATE SCHEMA mine")
    for (name,) in execute(database_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        execute(database_url, f'ALTER TABLE public."{name}" SET SCHEMA mine')
    for command in (("study", "list"), ("doctor",)):
        said = program.run_here(*command, "--db", database_url)
        assert said.returncode == 3, said.stderr
        assert "of this store lie in the schema mine" in " ".join((said.stdout + said.stderr).split())
    assert [row[0] for row in execute(database_url, _SCHEMAS)] == ["mine"]


def test_a_search_path_in_the_url_is_refused(program: Program, database_url: str) -> None:
    separator = "&" if "?" in database_url else "?"
    said = program.run_here("study", "list", "--db", f"{database_url}{separator}options=-csearch_path%3Dmine")
    assert said.returncode == 2
    assert "the URL's options set search_path" in said.stderr


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_keep_all_text_is_refused(
    program: Program, postgres_url: str, encoding: str
) -> None:
    template = f"template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
    with fresh_database(postgres_url, template) as url:
        said = program.run_here("study", "list", "--db", url)
        assert said.returncode == 3
        assert f"keeps text as {encoding}" in " ".join(said.stderr.split())
        assert execute(url, _SCHEMAS) == []
