"""`doctor` on databases with something wrong; where the fix is a statement, it is carried out and helps."""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from anomalyvfm_opt.doctor.connections import count_connections_per_process
from anomalyvfm_opt.doctor.tables import list_optuna_tables
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.roles import Roles, apply_roles, find_owner
from anomalyvfm_opt.store.schema import HEAD, prepare_database
from anomalyvfm_opt.trial.pulse import Times
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from tests.integration.conftest import Bench, run_quickly
from tests.integration.doctor_answer import Answer, ask

_OBJECTS = """
    SELECT count(*) FROM pg_class
     WHERE relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""
Execute = Callable[[str], None]


@dataclass(frozen=True)
class Guest:
    """A role with a password of its own."""

    name: str
    url: str
    passfile: Path

    def ask(self, *arguments: str) -> Answer:
        return ask("--db", self.url, "--device", "cpu", *arguments, PGPASSFILE=str(self.passfile))


@pytest.fixture
def execute(database_url: str) -> Iterator[Execute]:
    """What the administrator does, each statement in a transaction of its own."""
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")

    def run(statements: str) -> None:
        with engine.connect() as connection:
            for statement in filter(str.strip, statements.split(";")):
                connection.execute(text(statement))

    yield run
    engine.dispose()


@pytest.fixture
def guest(database_url: str, execute: Execute, tmp_path: Path) -> Iterator[Guest]:
    name, password = f"guest_{secrets.token_hex(4)}", secrets.token_hex(8)
    execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    passfile = tmp_path / "passfile"
    passfile.touch(mode=0o600)
    passfile.write_text(f"127.0.0.1:*:*:{name}:{password}\n")
    url = make_url(database_url).set(username=name, query={}).render_as_string()
    yield Guest(name, url, passfile)
    execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.fixture
def tables(database_url: str) -> Iterator[Engine]:
    """The database with tables in it."""
    engine = make_engine(database_url)
    prepare_database(engine)
    yield engine
    engine.dispose()


def test_an_empty_database_stays_empty(database_url: str, execute: Execute) -> None:
    answer = ask("--db", database_url, "--device", "cpu")
    assert answer.failed() == []
    assert answer.checks["schema"]["detail"] == "not made yet; the first command makes them"
    assert answer.checks["optuna_schema"]["detail"] == "not made yet; the first command makes them"
    assert "embedded" not in answer.checks
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert connection.scalar(text(_OBJECTS)) == 0
        assert connection.scalar(text("SELECT to_regnamespace('anomalyvfm_opt')")) is None
    engine.dispose()


def test_a_study_that_an_empty_database_does_not_have(database_url: str) -> None:
    answer = ask("--db", database_url, "--device", "cpu", "--study", "tiny")
    answer.assert_fails("study", "the store is empty", "study create")


def test_a_wrong_password(guest: Guest) -> None:
    guest.passfile.write_text(f"*:*:*:{guest.name}:wrong\n")
    answer = guest.ask()
    answer.assert_fails("database", f"wrong password for user {guest.name}", "PGPASSFILE")
    assert answer.checks["server"]["detail"] == "not looked at: database failed"


def test_a_password_file_that_others_may_read_is_not_read_at_all(guest: Guest) -> None:
    guest.passfile.chmod(0o644)
    answer = guest.ask()
    answer.assert_fails("database", "no password")
    assert answer.checks["password"]["fix"] == f"chmod 600 {guest.passfile}"


def test_a_password_in_the_url_is_refused_and_not_shown(guest: Guest) -> None:
    password = guest.passfile.read_text().strip().split(":")[-1]
    answer = ask("--db", guest.url.replace("@", f":{password}@"), "--device", "cpu")
    answer.assert_fails("database", "the URL has a password in it", "PGPASSFILE")
    assert password not in str(answer.checks)


def test_a_role_without_rights_and_the_fix(guest: Guest, execute: Execute) -> None:
    answer = guest.ask()
    answer.assert_fails("rights", f"{guest.name} may not make the tables", "GRANT CREATE ON DATABASE")
    assert answer.checks["schema"]["status"] == "skip"
    execute(answer.checks["rights"]["fix"].partition(": ")[2])
    assert guest.ask().checks["rights"]["detail"] == f"role {guest.name} may make the tables"


def test_a_role_that_may_only_read_and_the_fix(guest: Guest, execute: Execute, tables: Engine) -> None:
    guest.ask().assert_fails("rights", "may not use the schema anomalyvfm_opt", f"db roles --worker {guest.name}")
    execute(f"GRANT USAGE ON SCHEMA anomalyvfm_opt TO {guest.name}")
    execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA anomalyvfm_opt, public TO {guest.name}")
    answer = guest.ask()
    answer.assert_fails(
        "rights", "INSERT on ", "UPDATE on ", "DELETE on lease", "USAGE on ", "a worker has to write"
    )
    assert "SELECT on" not in answer.checks["rights"]["detail"]
    assert f"`anomalyvfm-opt db roles --worker {guest.name}`" in answer.checks["rights"]["fix"]
    with tables.connect() as connection:
        owner = find_owner(connection)
    apply_roles(tables, Roles(owner, guest.name, "passer_by"))
    repaired = guest.ask()
    execute("DROP OWNED BY passer_by; DROP ROLE passer_by")
    assert repaired.failed() == []
    told = f"role {guest.name} may read and write the tables, and not create a study"
    assert repaired.checks["rights"]["detail"] == told


@pytest.mark.parametrize(
    ("statement", "check", "words"),
    [
        (
            "UPDATE anomalyvfm_opt.schema_version SET version_num = '0000'",
            "schema",
            ("version 0000", HEAD, "anomalyvfm-opt db upgrade"),
        ),
        (
            "UPDATE anomalyvfm_opt.schema_version SET version_num = '9999'",
            "schema",
            ("version 9999", "upgrade this program"),
        ),
        (
            "UPDATE alembic_version SET version_num = 'v3.0.0.d'",
            "optuna_schema",
            ("version v3.0.0.d", "anomalyvfm-opt db upgrade"),
        ),
        ("UPDATE alembic_version SET version_num = 'v99'", "optuna_schema", ("v99", "pip install -U optuna")),
    ],
)
def test_tables_of_another_version(
    database_url: str, execute: Execute, tables: Engine, statement: str, check: str, words: tuple[str, ...]
) -> None:
    execute(statement)
    ask("--db", database_url, "--device", "cpu").assert_fails(check, *words)


def test_tables_of_another_program_in_the_way(database_url: str, execute: Execute) -> None:
    execute("CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('3f2a')")
    answer = ask("--db", database_url, "--device", "cpu")
    answer.assert_fails("optuna_schema", "'3f2a'", "createdb")


def test_too_few_connections_and_the_fix(guest: Guest, execute: Execute) -> None:
    execute(f"GRANT CREATE ON SCHEMA public TO {guest.name}")
    execute(f"GRANT CREATE ON DATABASE {make_url(guest.url).database} TO {guest.name}")
    execute(f"ALTER ROLE {guest.name} CONNECTION LIMIT 12")
    assert guest.ask("--workers", "1").failed() == []
    answer = guest.ask("--workers", "3")
    answer.assert_fails("connections", f"role {guest.name} (12) leaves 12", "run at most 2 workers")
    execute(re.sub("; or run.*", "", answer.checks["connections"]["fix"]))
    assert guest.ask("--workers", "3").checks["connections"]["status"] == "ok"


def test_more_workers_than_the_server_takes(database_url: str) -> None:
    answer = ask("--db", database_url, "--device", "cpu", "--workers", "1000")
    answer.assert_fails("connections", "1000 workers and a dashboard need up to 4004", "set max_connections = ")


def test_a_database_that_is_read_only(guest: Guest, execute: Execute) -> None:
    execute(f"GRANT CREATE ON SCHEMA public TO {guest.name}")
    execute(f"GRANT CREATE ON DATABASE {make_url(guest.url).database} TO {guest.name}")
    execute(f"ALTER ROLE {guest.name} SET default_transaction_read_only = on")
    guest.ask().assert_fails("server", "read-only by default", "RESET default_transaction_read_only")


def test_a_worker_keeps_no_more_connections_than_are_reckoned_with(bench: Bench) -> None:
    name, counts = bench.engine.url.database, []
    watcher = create_engine(bench.engine.url, isolation_level="AUTOCOMMIT")
    query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()")

    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        result = run_quickly(request, progress)
        time.sleep(0.4)  # two heartbeats: their thread has a connection of its own by then
        with watcher.connect() as connection:
            counts.append(connection.scalar(query, {"name": name}))
        return result

    loop = bench.loop(run, times=Times(grace_s=1.0))
    for _ in range(3):
        loop.take_turn()
    watcher.dispose()
    assert len(counts) == 3
    assert 2 < max(counts) <= count_connections_per_process()


def test_the_names_of_optuna_that_we_lean_on(tables: Engine) -> None:
    query = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    with tables.connect() as connection:
        assert set(connection.scalars(text(query))) == list_optuna_tables()
