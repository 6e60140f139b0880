"""`db roles` on somebody else's PostgreSQL: what owner, worker and viewer may do, and what they may not."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import text

from anomalyvfm_opt.errors import AnomalyVFMOptError, DivergedError, UsageError
from anomalyvfm_opt.store.confirmations import claim_device
from anomalyvfm_opt.store.embedded.binaries import find_installation
from anomalyvfm_opt.store.engine import make_engine, normalise_url
from anomalyvfm_opt.store.looks import write_look
from anomalyvfm_opt.store.rights import WORKER_RIGHTS
from anomalyvfm_opt.store.roles import Roles, apply_roles, find_roles, find_script
from anomalyvfm_opt.store.schema import prepare_database, upgrade_database
from anomalyvfm_opt.store.storage import open_storage
from anomalyvfm_opt.store.studies import create_study, load_study
from anomalyvfm_opt.store.tables import metadata
from anomalyvfm_opt.trial.budget import count_usage
from tests.integration.conftest import REFERENCES, Bench, make_new_study, make_spec
from tests.integration.external_server import ADMIN, DATABASE, USER, ExternalServer
from tests.integration.program import CATEGORY, Finished, Program, assert_one_error, finish, wait_for, write_spec
from tests.integration.trial_states import die_after_asking, expire_leases, fail_with, run_to_end

ROLES = Roles(USER, "hands", "eyes")
_RIGHTS = """
    SELECT c.relname, c.relnamespace::regnamespace::text,
           has_table_privilege('{role}', c.oid, 'SELECT'), has_table_privilege('{role}', c.oid, 'INSERT'),
           has_any_column_privilege('{role}', c.oid, 'UPDATE'), has_table_privilege('{role}', c.oid, 'DELETE'),
           has_table_privilege('{role}', c.oid, 'TRUNCATE') OR has_table_privilege('{role}', c.oid, 'TRIGGER')
             OR has_table_privilege('{role}', c.oid, 'REFERENCES')
      FROM pg_class c
     WHERE c.relkind = 'r' AND c.relnamespace IN ('public'::regnamespace, 'anomalyvfm_opt'::regnamespace)
"""


@pytest.fixture(scope="module")
def server(external_server: ExternalServer) -> Iterator[ExternalServer]:
    """A store with roles, as its administrator made them; the tables are an ordinary user's."""
    external_server.empty()
    owner = make_engine(external_server.local_url)
    upgrade_database(owner)
    admin = make_engine(f"{external_server.url_of(ADMIN, DATABASE)}?passfile={external_server.passfile}")
    apply_roles(admin, ROLES)
    admin.dispose()
    owner.dispose()
    for role in (ROLES.worker, ROLES.viewer):
        external_server.set_password(role)
    yield external_server
    external_server.admin(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    for role in (ROLES.worker, ROLES.viewer):
        external_server.admin(f"DROP ROLE {role}")
    external_server.empty()


@pytest.fixture
def study(server: ExternalServer) -> Iterator[Bench]:
    """A study of the owner's, in the hands of a worker."""
    owner = make_engine(server.local_url)
    storage = open_storage(url_of(server, USER))
    create_study(storage, owner, make_new_study(make_spec()), REFERENCES)
    engine = make_engine(url_of(server, ROLES.worker))
    yield Bench(engine, open_storage(url_of(server, ROLES.worker)), load_study(engine, "tiny/tile"))
    engine.dispose()
    storage.delete_study(storage.get_study_id_from_name("tiny/tile"))
    owner.dispose()


def url_of(server: ExternalServer, role: str) -> str:
    return normalise_url(f"{server.url_of(role, DATABASE)}?passfile={server.passfile}")


def as_role(server: ExternalServer, role: str) -> dict[str, str]:
    return {**server.environment, "ANOMALYVFM_OPT_DB_URL": server.url_of(role, DATABASE)}


def attempt(server: ExternalServer, role: str, sql: str) -> None:
    with psycopg2.connect(server.url_of(role, DATABASE), passfile=str(server.passfile)) as connection:
        connection.cursor().execute(sql)
    connection.close()


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


def test_a_worker_runs_all_kinds_of_ends_under_its_role(server: ExternalServer, study: Bench) -> None:
    """Completed, pruned with a constraint, given back after a death, reaped; the role is enough for each."""
    study.loop().take_turn()
    study.loop(fail_with(DivergedError("loss nan"))).take_turn()
    die_after_asking(study)
    expire_leases(study)
    run_to_end(study.loop())
    usage = count_usage(study.engine, study.record.study_id)
    assert (usage.used, usage.held, usage.running) == (6, 0, 0)
    states = [trial.state.name for trial in study.study().get_trials()]
    assert sorted(states) == ["COMPLETE"] * 5 + ["FAIL", "PRUNED"]


def test_a_worker_stops_a_study_whose_trials_all_fail(study: Bench) -> None:
    loop = study.loop(fail_with(ZeroDivisionError("oops")))
    with pytest.raises(AnomalyVFMOptError, match="failed one after the other"):
        run_to_end(loop)


def test_a_worker_writes_looks_and_claims_a_device(server: ExternalServer, study: Bench) -> None:
    write_look(study.engine, study.record.study_id, "tiny/tile#confirm", (1, "baseline", 7), 0, "w")
    assert claim_device(study.engine, study.record.study_id, "cpu") == "cpu"
    assert server.admin("SELECT arm FROM anomalyvfm_opt.look", DATABASE) == [("baseline",)]
    server.admin("DELETE FROM anomalyvfm_opt.look", DATABASE)


@pytest.fixture(scope="module")
def run_by_workers(
    program: Program, server: ExternalServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Finished]:
    """A study with replicates that the owner made and two launched workers ran, one of which was killed."""
    spec = write_spec(
        tmp_path_factory.mktemp("roles"), "roles", references=["frozen", "v1.1"], verdict={"noise_seeds": 3}
    )
    made = program.run(
        "study", "create", str(spec), "--data", str(program.data), "--category", CATEGORY, **server.environment
    )
    assert made.returncode == 0, made.stderr
    hands = as_role(server, ROLES.worker)
    fleet = program.start("worker", "launch", "--engine", "local", "--count", "2", "--study", "roles", **hands)
    leases = "SELECT count(*) FROM anomalyvfm_opt.lease WHERE trial_id IS NOT NULL"
    wait_for(lambda: fleet.poll() is not None or server.admin(leases, DATABASE)[0][0] > 0)
    victims = server.admin("SELECT pid FROM anomalyvfm_opt.worker WHERE ended_at IS NULL", DATABASE)
    for (pid,) in victims[:1]:
        subprocess.run(["kill", f"-{signal.SIGKILL.value}", str(pid)], check=False)
    return f"roles/{CATEGORY}", finish(fleet)


@pytest.mark.slow
def test_a_launched_fleet_runs_a_study_and_its_replicates_under_the_worker_role(
    program: Program, server: ExternalServer, run_by_workers: tuple[str, Finished]
) -> None:
    name, done = run_by_workers
    assert done.returncode == 0, done.stderr
    assert "killed by signal 9" in done.stderr
    engine = make_engine(server.local_url)
    for each, budget in ((name, 4), (f"{name}#replicates", 4)):  # three seeds of the baseline, and frozen
        usage = count_usage(engine, load_study(engine, each).study_id)
        assert (usage.budget, usage.used, usage.running, usage.held) == (budget, budget, 0, 0)
    engine.dispose()
    hands = as_role(server, ROLES.worker)
    for command in (
        ("worker", "reap"),
        ("study", "pause", name),
        ("study", "resume", name),
        ("study", "show", name),
    ):
        again = program.run_here(*command, **hands)
        assert again.returncode == 0, again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("role", [ROLES.worker, ROLES.viewer])
def test_studies_are_neither_made_nor_deleted_under_another_role(
    program: Program, server: ExternalServer, run_by_workers: tuple[str, Finished], role: str
) -> None:
    name, _ = run_by_workers
    environment = as_role(server, role)
    delete = program.run_here("study", "delete", name, "--yes", **environment)
    assert f"user {role} may not delete studies in database '{DATABASE}'" in assert_one_error(delete, 3)
    assert f"as the owner of the tables: user {USER}" in delete.stderr
    confirm = program.run_here("confirm", name, "--no-wait", **environment)
    assert f"user {role} may not create studies" in assert_one_error(confirm, 3)
    upgrade = program.run_here("db", "upgrade", **environment)
    assert "nothing to do" in upgrade.stderr
    roles = program.run_here("db", "roles", **environment)
    assert f"user {role} may not give rights on the tables" in assert_one_error(roles, 3)
    show = program.run_here("study", "list", "--json", **environment)
    assert [study["name"] for study in json.loads(show.stdout)["studies"]] == [name, f"{name}#replicates"]


@pytest.mark.slow
@pytest.mark.parametrize("role", [ROLES.worker, ROLES.viewer])
def test_a_refused_creation_reads_no_image(
    program: Program, server: ExternalServer, run_by_workers: tuple[str, Finished], role: str, tmp_path: Path
) -> None:
    spec = write_spec(tmp_path, "mine")
    done = program.run_here("study", "create", str(spec), "--data", str(program.data), **as_role(server, role))
    assert f"user {role} may not create studies" in assert_one_error(done, 3)


def test_a_viewer_cannot_run_trials_and_hears_why(program: Program, server: ExternalServer) -> None:
    done = program.run_here("worker", "run", "--keep-running", **as_role(server, ROLES.viewer))
    assert f"user eyes may not run trials in database '{DATABASE}'" in assert_one_error(done, 3)
    assert "with the role for workers" in done.stderr


def test_doctor_is_content_with_a_workers_rights(program: Program, server: ExternalServer) -> None:
    done = program.run("doctor", "--json", "--device", "cpu", **as_role(server, ROLES.worker))
    rights = {check["name"]: check for check in json.loads(done.stdout)["checks"]}["rights"]
    assert rights["status"] == "ok", rights
    assert "not create a study" in rights["detail"]


def test_the_owner_cannot_make_roles_and_hears_who_can(program: Program, server: ExternalServer) -> None:
    done = program.run_here("db", "roles", "--worker", "other_hands", **server.environment)
    shown = assert_one_error(done, 3)
    assert "permission denied to create role" in shown
    assert "-v worker=other_hands -v viewer=eyes -f deploy/roles.sql" in shown


def test_the_owner_applies_existing_roles_again_and_no_password_is_set(
    program: Program, server: ExternalServer
) -> None:
    before = server.admin("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")
    server.admin(f"GRANT DELETE ON studies TO {ROLES.worker}", DATABASE)  # by a hand that meant well
    done = program.run_here("db", "roles", **server.environment)
    assert done.returncode == 0, done.stderr
    assert r"\password hands" in done.stderr
    assert server.admin("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1") == before
    test_the_roles_have_exactly_the_rights_that_are_written_down(server)


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
                [*psql, *variables, "-f", str(find_script()), *place],
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
    script = re.sub(r"--.*", "", find_script().read_text())
    assert [
        name for name in WORKER_RIGHTS if not re.search(rf"GRANT [^;]*\b{name}\b[^;]* TO :\"worker\"", script)
    ] == []
