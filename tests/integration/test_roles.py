"""`db roles` on somebody else's PostgreSQL: what owner, worker and viewer may do, and what they may not."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import text

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.store.embedded.binaries import find_installation
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.rights import WORKER_RIGHTS
from anomalyvfm_opt.store.roles import SCRIPT, Roles, apply_roles, find_roles, read_script
from anomalyvfm_opt.store.schema import prepare_database, upgrade_database
from anomalyvfm_opt.store.tables import metadata
from tests.integration.external_server import ADMIN, DATABASE, USER, ExternalServer
from tests.integration.program import Program, assert_one_error
from tests.integration.roles import ROLES, applied, attempt

_RIGHTS = """
    SELECT c.relname, c.relnamespace::regnamespace::text,
           has_table_privilege('{role}', c.oid, 'SELECT'), has_table_privilege('{role}', c.oid, 'INSERT'),
           has_any_column_privilege('{role}', c.oid, 'UPDATE'), has_table_privilege('{role}', c.oid, 'DELETE'),
           has_table_privilege('{role}', c.oid, 'TRUNCATE') OR has_table_privilege('{role}', c.oid, 'TRIGGER')
             OR has_table_privilege('{role}', c.oid, 'REFERENCES')
      FROM pg_class c
     WHERE c.relkind = 'r' AND c.relnamespace IN ('public'::regnamespace, 'anomalyvfm_opt'::regnamespace)
"""

_BEYOND_TABLES = """
    SELECT has_schema_privilege('{role}', 'public', 'CREATE'),
           has_schema_privilege('{role}', 'anomalyvfm_opt', 'CREATE'),
           has_database_privilege('{role}', current_database(), 'CREATE'),
           has_schema_privilege('{role}', 'anomalyvfm_opt', 'USAGE')
"""
_SEQUENCES = """
    SELECT relname, has_sequence_privilege('{role}', oid, 'USAGE') FROM pg_class WHERE relkind = 'S'
"""
BY_HAND = (
    "DELETE ON studies",
    "USAGE, CREATE ON SCHEMA anomalyvfm_opt",
    "USAGE ON ALL SEQUENCES IN SCHEMA public, anomalyvfm_opt",
)


@pytest.fixture(scope="module")
def server(external_server: ExternalServer) -> Iterator[ExternalServer]:
    with applied(external_server) as server:
        yield server


def test_the_roles_have_exactly_the_rights_that_are_written_down(server: ExternalServer) -> None:
    rows = server.admin(_RIGHTS.format(role=ROLES.worker), DATABASE)
    assert {row[0] for row in rows if row[1] == "anomalyvfm_opt"} >= {
        table.name for table in metadata.sorted_tables
    }
    for name, _schema, *has, has_others in rows:
        wanted = ("SELECT", *WORKER_RIGHTS.get(name, ()))
        assert (name, has) == (name, [right in wanted for right in ("SELECT", "INSERT", "UPDATE", "DELETE")])
        assert not has_others, name
    for name, _schema, *has, has_others in server.admin(_RIGHTS.format(role=ROLES.viewer), DATABASE):
        assert (name, has, has_others) == (name, [True, False, False, False], False)


@pytest.mark.parametrize("role", [ROLES.worker, ROLES.viewer])
@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM studies",
        "DELETE FROM trials",
        "UPDATE studies SET study_name = 'mine'",
        "INSERT INTO studies (study_name) VALUES ('mine')",
        "DELETE FROM anomalyvfm_opt.study",
        "UPDATE anomalyvfm_opt.study SET budget = 1000",
        "DELETE FROM anomalyvfm_opt.look",
        "UPDATE anomalyvfm_opt.confirmation SET plan = '{}'",
        "UPDATE anomalyvfm_opt.image_score SET score = 1",
        "TRUNCATE anomalyvfm_opt.lease",
        "DROP TABLE anomalyvfm_opt.prediction",
        "ALTER TABLE trials ADD COLUMN mine text",
        "CREATE TABLE mine (x int)",
        "CREATE TABLE anomalyvfm_opt.mine (x int)",
        "CREATE SCHEMA mine",
        "UPDATE anomalyvfm_opt.schema_version SET version_num = '9999'",
        "CREATE ROLE mine",
    ],
)
def test_what_neither_worker_nor_viewer_may(server: ExternalServer, role: str, sql: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        attempt(server, role, sql)


def test_the_owner_cannot_make_roles_and_hears_who_can(program: Program, server: ExternalServer) -> None:
    done = program.run_here("db", "roles", "--worker", "other_hands", **server.environment)
    shown = assert_one_error(done, 3)
    assert "permission denied to create role" in shown
    assert f"-v worker=other_hands -v viewer=eyes -f {SCRIPT}" in shown


def test_the_owner_applies_existing_roles_again_and_no_password_is_set(
    program: Program, server: ExternalServer
) -> None:
    before = server.admin("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")
    for grant in BY_HAND:  # by one that meant well
        server.admin(f"GRANT {grant} TO {ROLES.worker}, {ROLES.viewer}", DATABASE)
    done = program.run_here("db", "roles", **server.environment)
    assert done.returncode == 0, done.stderr
    assert r"\password hands" in done.stderr
    assert server.admin("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1") == before
    test_the_roles_have_exactly_the_rights_that_are_written_down(server)
    for role in (ROLES.worker, ROLES.viewer):
        assert server.admin(_BEYOND_TABLES.format(role=role), DATABASE) == [(False, False, False, True)]
    viewers = server.admin(_SEQUENCES.format(role=ROLES.viewer), DATABASE)
    assert (len(viewers) > 6, {may for _, may in viewers}) == (True, {False})


def test_what_the_owner_cannot_take_back_is_told_with_who_can(program: Program, server: ExternalServer) -> None:
    server.admin(f"ALTER DATABASE {DATABASE} OWNER TO {ADMIN}")
    server.admin(f"GRANT CREATE ON DATABASE {DATABASE} TO {ROLES.worker}")
    done = program.run_here("db", "roles", **server.environment)
    shown = assert_one_error(done, 3)
    assert f"tables can be made by {ROLES.worker} in database {DATABASE}" in shown
    advice = f"REVOKE CREATE ON DATABASE {DATABASE} FROM PUBLIC, {ROLES.worker};"
    assert f"the administrator runs there: {advice}" in shown
    server.admin(advice, DATABASE)
    assert program.run_here("db", "roles", **server.environment).returncode == 0
    server.admin(f"ALTER DATABASE {DATABASE} OWNER TO {USER}")


@pytest.mark.parametrize("name", ["user", ':"viewer"', 'a%s"b'])
def test_names_that_mean_something_else_to_sql(server: ExternalServer, name: str) -> None:
    admin = make_engine(f"{server.url_of(ADMIN, DATABASE)}?passfile={server.passfile}")
    quoted = '"' + name.replace('"', '""') + '"'
    try:
        apply_roles(admin, Roles(USER, name, ROLES.viewer))
        with admin.connect() as connection:
            assert Roles(USER, name, ROLES.viewer) in find_roles(connection)
    finally:
        admin.dispose()
        server.admin(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}", DATABASE)


def test_a_name_that_the_server_keeps_for_itself(program: Program, server: ExternalServer) -> None:
    administrator = {**server.environment, "ANOMALYVFM_OPT_DB_URL": server.url_of(ADMIN, DATABASE)}
    done = program.run_here("db", "roles", "--worker", "public", **administrator)
    assert 'role name "public" is reserved' in assert_one_error(done, 2)


def test_tables_that_are_busy_all_the_time(
    server: ExternalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "roles.sql"
    script.write_text(read_script().replace("tries = 600", "tries = 3"))
    monkeypatch.setattr("anomalyvfm_opt.store.roles.SCRIPT", script)
    server.admin("DROP TRIGGER keep_complete ON trials", DATABASE)
    owner = make_engine(server.local_url)
    with owner.connect() as busy:
        busy.execute(text("LOCK TABLE trials IN ROW EXCLUSIVE MODE"))
        with pytest.raises(EnvironmentMissingError, match=r"too busy .*drain some workers"):
            upgrade_database(owner)
    upgrade_database(owner)
    owner.dispose()
    guards = "SELECT count(*) FROM pg_trigger WHERE tgname = 'keep_complete' AND tgrelid = 'trials'::regclass"
    assert server.admin(guards, DATABASE) == [(1,)]


@pytest.mark.parametrize(
    ("roles", "words"),
    [(Roles(USER, USER, "eyes"), "three roles"), (Roles(USER, ADMIN, "eyes"), "may do all that the owner")],
)
def test_roles_that_would_part_nothing_are_refused(server: ExternalServer, roles: Roles, words: str) -> None:
    admin = make_engine(f"{server.url_of(ADMIN, DATABASE)}?passfile={server.passfile}")
    with pytest.raises(UsageError, match=words):
        apply_roles(admin, roles)
    admin.dispose()


def test_an_upgrade_covers_new_tables(server: ExternalServer) -> None:
    """A table that the owner makes can be read at once; what a worker writes to is granted again."""
    owner = make_engine(server.local_url)
    with owner.begin() as connection:
        connection.execute(text("CREATE TABLE anomalyvfm_opt.later (x int)"))
        connection.execute(text(f"REVOKE INSERT ON anomalyvfm_opt.look FROM {ROLES.worker}"))
    try:
        attempt(server, ROLES.viewer, "SELECT * FROM anomalyvfm_opt.later")
        upgrade_database(owner)
        test_the_roles_have_exactly_the_rights_that_are_written_down(server)
    finally:
        server.admin("DROP TABLE anomalyvfm_opt.later", DATABASE)
        owner.dispose()


def test_tables_that_the_administrator_made_become_the_owners(server: ExternalServer) -> None:
    """The file as psql runs it, with names that need quotes, in a database where nobody else has a right."""
    server.admin('CREATE DATABASE "second store"')
    url = f"{server.url_of(ADMIN, 'second store')}?passfile={server.passfile}"
    admin = make_engine(url)
    names = {"owner": "Lab owner", "worker": 'Lab\'s "worker"', "viewer": "lab-viewer"}
    try:
        prepare_database(admin)
        variables = [f"--set={kind}={name}" for kind, name in names.items()]
        psql = [f"{find_installation().folder}/bin/psql", "-X", "--set=ON_ERROR_STOP=1", "--single-transaction"]
        place = ["-h", "127.0.0.1", "-p", str(server.port), "-U", ADMIN, "second store"]
        for _ in range(2):
            done = subprocess.run(
                [*psql, *variables, "-f", str(SCRIPT), *place],
                env={"PGPASSFILE": str(server.passfile)},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
        owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relkind IN ('r', 'S') AND"
        owners += " relnamespace IN ('public'::regnamespace, 'anomalyvfm_opt'::regnamespace)"
        assert server.admin(owners, "second store") == [(names["owner"],)]
        with admin.connect() as connection:
            assert find_roles(connection) == [Roles(**names)]
        names["more"] = "more hands"
        apply_roles(admin, Roles(names["owner"], names["more"], names["viewer"]))
        with admin.connect() as connection:  # an upgrade grants to both fleets
            found = find_roles(connection)
        assert {roles.worker for roles in found} == {names["worker"], names["more"]}
        assert {roles.viewer for roles in found} == {names["viewer"]}
    finally:
        admin.dispose()
        server.admin('DROP DATABASE "second store" WITH (FORCE)')
        for name in names.values():
            quoted = name.replace('"', '""')
            server.admin(f'DROP ROLE IF EXISTS "{quoted}"')


def test_the_file_names_every_table_that_a_worker_writes_to() -> None:
    script = re.sub(r"--.*", "", SCRIPT.read_text())
    assert [
        name for name in WORKER_RIGHTS if not re.search(rf"GRANT [^;]*\b{name}\b[^;]* TO :\"worker\"", script)
    ] == []
