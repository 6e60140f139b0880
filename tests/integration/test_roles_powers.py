"""What worker and viewer can do beside the tables: nothing that they need not, and `doctor` names what is left."""

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.powers import is_guarded_now
from anomalyvfm_opt.store.roles import apply_roles
from anomalyvfm_opt.store.schema import upgrade_database
from tests.integration.doctor_answer import ask
from tests.integration.external_server import ADMIN, DATABASE, USER, ExternalServer
from tests.integration.program import Program, assert_one_error
from tests.integration.roles import ROLES, applied, as_role, attempt


@pytest.fixture(scope="module")
def server(external_server: ExternalServer) -> Iterator[ExternalServer]:
    with applied(external_server) as server:
        yield server


def look(server: ExternalServer, name: str = "roles") -> dict[str, str]:
    return ask("--device", "cpu", **as_role(server, USER)).checks[name]


@pytest.mark.parametrize("role", [ROLES.worker, ROLES.viewer])
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT pg_logical_emit_message(false, 'x', 'y')",
        "CREATE TEMP TABLE mine (x int)",
        "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY trials TO '/tmp/mine'",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_ls_dir('.')",
        "SELECT lo_import('/etc/passwd')",
        f"SET ROLE {USER}",
        f"SET SESSION AUTHORIZATION {ADMIN}",
        "SET session_replication_role = replica",
        "SET temp_file_limit = -1",
        f"ALTER ROLE {USER} PASSWORD 'mine'",
        f"ALTER ROLE {ROLES.worker} SUPERUSER",
        f"GRANT {USER} TO {ROLES.worker}, {ROLES.viewer}",
        f"ALTER ROLE {ROLES.viewer} CONNECTION LIMIT -1",
        f"ALTER DATABASE {DATABASE} SET search_path = mine",
        "ALTER TABLE trials DISABLE TRIGGER keep_complete",
        "DROP TRIGGER keep_complete ON trials",
        "CREATE OR REPLACE FUNCTION anomalyvfm_opt.is_guarded(oid) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
        "ALTER FUNCTION anomalyvfm_opt.is_guarded(oid) RESET search_path",
        "LOCK TABLE trials IN SHARE MODE",
        "SELECT pg_reload_conf()",
        "CREATE PUBLICATION mine FOR ALL TABLES",
        "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION anomalyvfm_opt.claim_once()",
        "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
    ],
)
def test_what_is_not_theirs(server: ExternalServer, role: str, sql: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        attempt(server, role, sql)


def test_a_viewer_leaves_connections_and_disk_to_others(server: ExternalServer) -> None:
    assert server.admin("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'eyes'") == [(25,)]
    with psycopg2.connect(server.url_of(ROLES.viewer, DATABASE), passfile=str(server.passfile)) as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW temp_file_limit")
        assert cursor.fetchone() == ("10GB",)
    connection.close()


def test_doctor_is_content_and_then_names_what_was_opened_again(server: ExternalServer) -> None:
    assert (look(server)["status"], look(server)["detail"]) == ("ok", "eyes, hands: as this program makes them")
    server.admin("GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO eyes", DATABASE)
    server.admin(f"GRANT TEMPORARY ON DATABASE {DATABASE} TO PUBLIC")
    opened = look(server)
    assert opened["status"] == "warn"
    assert (
        opened["detail"] == "eyes can make temporary tables, take advisory locks; hands can make temporary tables"
    )
    admin = make_engine(f"{server.url_of(ADMIN, DATABASE)}?passfile={server.passfile}")
    apply_roles(admin, ROLES)
    admin.dispose()
    assert look(server)["status"] == "ok"


def test_a_setting_that_a_worker_left_for_all_of_them_is_named(server: ExternalServer) -> None:
    """PostgreSQL lets every role set this for itself; it would refuse every worker's writes."""
    attempt(server, ROLES.worker, f"ALTER ROLE {ROLES.worker} SET default_transaction_isolation = 'serializable'")
    found = look(server)
    assert "every session of hands begins with default_transaction_isolation=serializable" in found["detail"]
    server.admin(found["fix"].partition(": ")[2])
    assert look(server)["status"] == "ok"


def test_roles_of_an_older_program_are_named_and_an_upgrade_mends_them(server: ExternalServer) -> None:
    version = (
        "CREATE OR REPLACE FUNCTION anomalyvfm_opt.guards_version() RETURNS integer LANGUAGE sql AS 'SELECT 1'"
    )
    for older in (version, "DROP FUNCTION anomalyvfm_opt.guards_version()"):
        server.admin(older, DATABASE)
        server.admin("DROP TRIGGER IF EXISTS come_by_ticket ON anomalyvfm_opt.lease", DATABASE)
        assert "an older version of this program" in look(server)["detail"]
        owner = make_engine(server.local_url)
        upgrade_database(owner)
        with owner.connect() as connection:
            assert is_guarded_now(connection)
        owner.dispose()
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            attempt(
                server,
                ROLES.worker,
                "INSERT INTO anomalyvfm_opt.lease (study_id, worker, expires_at) VALUES (1, 'w', now())",
            )
    assert look(server)["status"] == "ok"


def test_a_value_that_nobody_computed_is_named(server: ExternalServer) -> None:
    assert look(server, "origins")["status"] == "ok"
    server.admin(
        """
        WITH s AS (INSERT INTO studies (study_name) VALUES ('lucky/tile') RETURNING study_id),
             o AS (INSERT INTO anomalyvfm_opt.study (study_id, category, spec, spec_sha256, data_dir, lock,
                                                     split_sha256, weights_sha256, budget)
                   SELECT study_id, 'tile', '{}', '', '', 'half', '', '', 4 FROM s),
             t AS (INSERT INTO trials (study_id, number, state) SELECT study_id, 3, 'COMPLETE' FROM s)
        SELECT study_id FROM s
        """,
        DATABASE,
    )
    found = look(server, "origins")
    assert (found["status"], "lucky/tile trial 3" in found["detail"]) == ("warn", True)
    server.admin("DELETE FROM trials; DELETE FROM anomalyvfm_opt.study; DELETE FROM studies", DATABASE)


def test_roles_get_the_passwords_of_files(program: Program, server: ExternalServer, tmp_path: Path) -> None:
    passfile = tmp_path / "passfile"
    passfile.write_text("somewhere:5432:*:hands:a new one\n")
    administrator = {**server.environment, "ANOMALYVFM_OPT_DB_URL": server.url_of(ADMIN, DATABASE)}
    done = program.run_here("db", "roles", "--passfile", str(passfile), **administrator)
    assert done.returncode == 0, done.stderr
    assert (r"\password eyes" in done.stderr, r"\password hands" in done.stderr) == (True, False)
    assert "a new one" not in done.stderr
    psycopg2.connect(server.url_of(ROLES.worker, DATABASE), password="a new one").close()  # noqa: S106
    refused = program.run_here("db", "roles", "--passfile", str(server.folder / "first"), **administrator)
    assert "has no password for eyes or hands" in assert_one_error(refused, 2)
