"""What the team's PostgreSQL refuses: one clear line with the advice, which works, and exit code 3."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg2
import pytest

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.embedded.cluster import write_private
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.roles import Roles, apply_roles
from anomalyvfm_opt.store.schema import upgrade_database
from anomalyvfm_opt.store.store import open_store
from tests.integration.databases import OURS_0001, load
from tests.integration.external_server import ADMIN, DATABASE, USER, ExternalServer
from tests.integration.program import Program, assert_one_error

GUEST = "guest"


@pytest.fixture
def server(external_server: ExternalServer) -> ExternalServer:
    """The team's server with an empty database."""
    external_server.empty()
    return external_server


@pytest.fixture
def guest_url(server: ExternalServer) -> Iterator[str]:
    """The URL of a user whom nobody has granted anything."""
    server.add_user(GUEST)
    yield f"{server.url_of(GUEST, DATABASE)}?passfile={server.passfile}"
    server.admin(f"DROP OWNED BY {GUEST}", DATABASE)
    server.admin(f"DROP OWNED BY {GUEST}")
    server.admin(f"DROP ROLE {GUEST}")


def refuse(url: str) -> EnvironmentMissingError:
    with pytest.raises(EnvironmentMissingError) as caught:
        open_store(url)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


def use(url: str) -> None:
    store = open_store(url)
    store.engine.dispose()
    store.storage.engine.dispose()


def follow(server: ExternalServer, error: EnvironmentMissingError) -> None:
    """Do what an advice says, as the administrator would."""
    if role := re.search(r"`anomalyvfm-opt db roles --worker (\w+)`", error.hint):
        admin = make_engine(f"{server.url_of(ADMIN, DATABASE)}?passfile={server.passfile}")
        apply_roles(admin, Roles(USER, role[1], "passer_by"))
        admin.dispose()
        server.admin("DROP OWNED BY passer_by; DROP ROLE passer_by", DATABASE)
    for statement in re.findall(r"(?:GRANT|ALTER) [^;]+;", error.hint):
        server.admin(statement, DATABASE)


def write_passfile(folder: Path, server: ExternalServer, password: str, host: str = "127.0.0.1") -> Path:
    path = folder / "passfile"
    write_private(path, f"{host}:{server.port}:*:{USER}:{password}\n")
    return path


def test_wrong_password_is_exit_3_and_shown_nowhere(
    program: Program, server: ExternalServer, tmp_path: Path
) -> None:
    path = write_passfile(tmp_path, server, "hunter2")
    done = program.run_here("study", "list", "--debug", ANOMALYVFM_OPT_DB_URL=server.url, PGPASSFILE=str(path))
    assert done.returncode == 3
    assert f"wrong password for user {USER}" in done.stderr
    assert str(path) in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_a_password_in_the_url_is_exit_2_and_shown_nowhere(program: Program, server: ExternalServer) -> None:
    done = program.run_here("study", "list", ANOMALYVFM_OPT_DB_URL=server.url.replace("@", ":hunter2@"))
    assert "ANOMALYVFM_OPT_DB_URL: the URL has a password in it" in assert_one_error(done, 2)
    assert "PGPASSFILE" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_a_password_file_that_libpq_ignores(server: ExternalServer, tmp_path: Path) -> None:
    path = write_passfile(tmp_path, server, "any")
    path.chmod(0o644)
    error = refuse(f"{server.url}?passfile={path}")
    assert f"no password for user {USER}: {path} is ignored, since others may read it (mode 0644)" in error.message
    assert error.hint == f"chmod 600 {path}"


def test_a_password_file_without_our_line(server: ExternalServer, tmp_path: Path) -> None:
    path = write_passfile(tmp_path, server, "any", host="elsewhere")
    error = refuse(f"{server.url}?passfile={path}")
    assert f"{path} has no line for it" in error.message
    assert f"127.0.0.1:{server.port}:{DATABASE}:{USER}:PASSWORD" in error.hint


def test_a_password_file_that_is_not_there(
    server: ExternalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    error = refuse(server.url)
    assert f"there is no file {tmp_path / 'none'}" in error.message
    assert "mode 0600" in error.hint


def test_no_right_to_make_the_tables(server: ExternalServer, guest_url: str) -> None:
    error = refuse(guest_url)
    assert f"user {GUEST} may not make the tables in database '{DATABASE}'" in error.message
    assert f"GRANT CREATE ON DATABASE {DATABASE} TO {GUEST};" in error.hint
    assert f"GRANT USAGE, CREATE ON SCHEMA public TO {GUEST};" in error.hint
    assert server.admin("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", DATABASE) == [(0,)]
    follow(server, error)
    use(guest_url)


def test_a_schema_that_the_administrator_made_needs_no_right_on_the_database(
    server: ExternalServer, guest_url: str
) -> None:
    server.admin(f"CREATE SCHEMA anomalyvfm_opt AUTHORIZATION {GUEST}", DATABASE)
    server.admin(f"GRANT CREATE ON SCHEMA public TO {GUEST}", DATABASE)
    use(guest_url)


def test_no_right_on_tables_that_another_user_made(server: ExternalServer, guest_url: str) -> None:
    use(server.local_url)
    error = refuse(guest_url)
    assert f"user {GUEST} lacks a right: permission denied for schema anomalyvfm_opt" in error.message
    follow(server, error)
    use(guest_url)


def test_no_right_to_connect(server: ExternalServer, guest_url: str) -> None:
    server.admin(f"REVOKE CONNECT ON DATABASE {DATABASE} FROM PUBLIC")
    error = refuse(guest_url)
    assert f'permission denied for database "{DATABASE}"' in error.message
    follow(server, error)
    assert "may not make the tables" in refuse(guest_url).message  # it gets in


def test_no_right_to_log_in(server: ExternalServer, guest_url: str) -> None:
    server.admin(f"ALTER ROLE {GUEST} NOLOGIN")
    error = refuse(guest_url)
    assert f"user {GUEST} may not log in" in error.message
    follow(server, error)
    assert "may not make the tables" in refuse(guest_url).message


def test_an_upgrade_by_another_user_than_the_owner(server: ExternalServer, guest_url: str) -> None:
    load(OURS_0001, server.local_url)
    server.admin(f"GRANT ALL ON ALL TABLES IN SCHEMA public, anomalyvfm_opt TO {GUEST}", DATABASE)
    server.admin(f"GRANT ALL ON SCHEMA public, anomalyvfm_opt TO {GUEST}", DATABASE)
    with pytest.raises(
        EnvironmentMissingError, match=r"must be owner of table study .*as the owner of the tables"
    ):
        upgrade(guest_url)


def upgrade(url: str) -> None:
    engine = make_engine(url)
    try:
        upgrade_database(engine)
    finally:
        engine.dispose()


def test_a_server_that_takes_no_writes(server: ExternalServer, guest_url: str) -> None:
    server.admin(f"GRANT CREATE ON DATABASE {DATABASE} TO {GUEST}")
    server.admin(f"GRANT CREATE ON SCHEMA public TO {GUEST}", DATABASE)
    server.admin(f"ALTER ROLE {GUEST} SET default_transaction_read_only = on")
    error = refuse(guest_url)
    assert "the server takes no writes" in error.message
    follow(server, error)
    use(guest_url)


@pytest.mark.parametrize("limited", [f"ROLE {GUEST}", f"DATABASE {DATABASE}"])
def test_a_limit_on_connections(server: ExternalServer, guest_url: str, limited: str) -> None:
    server.admin(f"ALTER {limited} CONNECTION LIMIT 0")
    error = refuse(guest_url)
    assert "too many connections for" in error.message
    assert "fewer workers" in error.hint


def test_a_server_that_is_full_is_exit_3(program: Program, server: ExternalServer) -> None:
    with limited_to(server, 6), ExitStack() as connections:
        while take_connection(server, connections):
            pass
        error = assert_one_error(program.run_here("worker", "run", **server.environment), 3)
    assert "too many connections" in error
    assert "raise max_connections" in error


@contextmanager
def limited_to(server: ExternalServer, count: int) -> Iterator[None]:
    server.admin(f"ALTER SYSTEM SET max_connections = {count}")
    server.restart()
    try:
        yield
    finally:
        server.admin("ALTER SYSTEM RESET max_connections")
        server.restart()


def take_connection(server: ExternalServer, connections: ExitStack) -> bool:
    try:
        connection = psycopg2.connect(f"{server.local_url}")
    except psycopg2.OperationalError:
        return False
    connections.callback(connection.close)
    return True


def test_a_server_that_does_not_let_this_host_in(server: ExternalServer, guest_url: str) -> None:
    path = server.folder / "data" / "pg_hba.conf"
    before = path.read_text()
    path.write_text(f"host {DATABASE} {GUEST} all reject\n{before}")
    server.admin("SELECT pg_reload_conf()")
    try:
        error = refuse(guest_url)
    finally:
        path.write_text(before)
        server.admin("SELECT pg_reload_conf()")
    assert f"the server does not let user {GUEST} in from this host: pg_hba.conf rejects" in error.message
    assert "hostssl" in error.hint


def test_a_server_without_encryption_where_the_url_asks_for_it(server: ExternalServer) -> None:
    error = refuse(f"{server.local_url}&sslmode=require")
    assert "the URL asks for encryption, and the server has none" in error.message


def test_a_server_that_has_been_stopped(server: ExternalServer) -> None:
    server.stop()
    try:
        error = refuse(server.local_url)
    finally:
        server.start()
    assert f"nothing answers at 127.0.0.1, port {server.port}" in error.message
