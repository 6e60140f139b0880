"""Owner, worker and viewer at work: a fleet, the dashboard, and what each is refused."""

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from anomalyvfm_opt.errors import AnomalyVFMOptError, DivergedError
from anomalyvfm_opt.report.dashboard import make_application
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.confirmations import claim_device
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.looks import write_look
from anomalyvfm_opt.store.siblings import plan_trials
from anomalyvfm_opt.store.storage import open_storage
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import create_study, delete_study, load_study
from tests.integration.conftest import REFERENCES, Bench, make_new_study, make_spec
from tests.integration.dashboards import ask_dashboard
from tests.integration.external_server import DATABASE, USER, ExternalServer
from tests.integration.families import plan_some
from tests.integration.program import CATEGORY, Finished, Program, assert_one_error, finish, wait_for, write_spec
from tests.integration.roles import ROLES, applied, as_role, url_of
from tests.integration.trial_states import die_after_asking, expire_leases, fail_with, run_to_end

_CONTENT = """
    SELECT (SELECT json_agg(s) FROM studies s)::text, (SELECT json_agg(t ORDER BY trial_id) FROM trials t)::text,
           (SELECT json_agg(a) FROM study_system_attributes a)::text,
           (SELECT json_agg(a ORDER BY trial_user_attribute_id) FROM trial_user_attributes a)::text
"""


@pytest.fixture(scope="module")
def server(external_server: ExternalServer) -> Iterator[ExternalServer]:
    with applied(external_server) as server:
        yield server


@pytest.fixture
def study(server: ExternalServer) -> Iterator[Bench]:
    """A study of the owner's, in the hands of a worker."""
    owner = make_engine(server.local_url)
    storage = open_storage(url_of(server, USER))
    create_study(Store(url_of(server, USER), owner), make_new_study(make_spec()), REFERENCES)
    engine = make_engine(url_of(server, ROLES.worker))
    yield Bench(Store(url_of(server, ROLES.worker), engine), load_study(engine, "tiny/tile"))
    engine.dispose()
    storage.delete_study(storage.get_study_id_from_name("tiny/tile"))
    owner.dispose()


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


def test_a_planned_trial_that_is_given_back_keeps_its_plan(server: ExternalServer, study: Bench) -> None:
    owner = make_engine(server.local_url)
    plan_trials(Store(url_of(server, USER), owner), study.record, "replicates", plan_some("baseline", 1))
    sibling = replace(study, record=load_study(study.engine, "tiny/tile#replicates"))
    die_after_asking(sibling)
    expire_leases(sibling)
    run_to_end(sibling.loop())
    lost, copy = sibling.study().get_trials()
    assert (lost.state.name, copy.state.name) == ("FAIL", "COMPLETE")
    assert copy.user_attrs["planned"] == lost.user_attrs["planned"]
    delete_study(Store(url_of(server, USER), owner), sibling.record.name)
    owner.dispose()


def test_a_worker_stops_a_study_whose_trials_all_fail(study: Bench) -> None:
    loop = study.loop(fail_with(ZeroDivisionError("oops")))
    with pytest.raises(AnomalyVFMOptError, match="failed one after the other"):
        run_to_end(loop)


def test_a_worker_writes_looks_and_claims_a_device(server: ExternalServer, study: Bench) -> None:
    plan = "INSERT INTO anomalyvfm_opt.confirmation (study_id, round, plan, made_by) VALUES ({}, 1, '{{}}', 'me')"
    server.admin(plan.format(study.record.study_id), DATABASE)
    write_look(study.engine, study.record.study_id, study.record.name, (1, "baseline", 7), 0, "w")
    assert claim_device(study.engine, study.record.study_id, "cpu") == "cpu"
    assert server.admin("SELECT arm FROM anomalyvfm_opt.look", DATABASE) == [("baseline",)]
    server.admin("DELETE FROM anomalyvfm_opt.look; DELETE FROM anomalyvfm_opt.confirmation", DATABASE)


def run_by_workers(program: Program, server: ExternalServer, folder: Path) -> tuple[str, Finished]:
    """A study with replicates that the owner made and two launched workers ran, one of which was killed."""
    spec = write_spec(folder, "roles", references=["frozen", "v1.1"], verdict={"noise_seeds": 3})
    made = program.run_here(
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
    program: Program, server: ExternalServer, tmp_path: Path
) -> None:
    name, done = run_by_workers(program, server, tmp_path)
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
        ("study", "show", name),
    ):
        again = program.run_here(*command, **hands)
        assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("role", [ROLES.worker, ROLES.viewer])
def test_studies_are_neither_made_nor_deleted_under_another_role(
    program: Program, server: ExternalServer, study: Bench, role: str
) -> None:
    name = study.record.name
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
    assert name in [each["name"] for each in json.loads(show.stdout)["studies"]]


@pytest.mark.parametrize("verb", ["pause", "stop"])
def test_a_worker_cannot_pause_or_stop_a_study_and_hears_who_can(
    program: Program, server: ExternalServer, study: Bench, verb: str
) -> None:
    done = program.run_here("study", verb, study.record.name, **as_role(server, ROLES.worker))
    shown = assert_one_error(done, 3)
    assert f"user {ROLES.worker} may not pause, resume or stop a study but one whose trials fail" in shown
    assert "only the owner of the tables may" in shown


@pytest.mark.parametrize("role", [ROLES.worker, ROLES.viewer])
def test_a_refused_creation_reads_no_image(
    program: Program, server: ExternalServer, role: str, tmp_path: Path
) -> None:
    spec = write_spec(tmp_path, "mine")
    done = program.run_here("study", "create", str(spec), "--data", str(program.data), **as_role(server, role))
    assert f"user {role} may not create studies" in assert_one_error(done, 3)


def test_a_viewer_cannot_run_trials_and_hears_why(program: Program, server: ExternalServer) -> None:
    done = program.run_here("worker", "run", "--keep-running", **as_role(server, ROLES.viewer))
    assert f"user eyes may not run trials in database '{DATABASE}'" in assert_one_error(done, 3)
    assert "with the role for workers" in done.stderr


@pytest.mark.parametrize(("may_write", "refused"), [(False, 403), (True, 500)])
def test_the_dashboard_reads_under_the_viewer_role_and_every_write_is_refused(
    server: ExternalServer, study: Bench, may_write: bool, refused: int
) -> None:
    """By its guard; and where that lets writes through, by the database."""
    study.loop().take_turn()
    storage = open_storage(url_of(server, ROLES.viewer))
    application = make_application(storage, may_write=may_write)
    path, trial_id = f"/api/studies/{study.record.study_id}", study.study().get_trials()[0]._trial_id
    for page in ("/api/studies", path, f"{path}/plot/timeline", "/dashboard", f"/csv/{study.record.study_id}"):
        assert ask_dashboard(application, page)[0] == 200, page
    before = server.admin(_CONTENT, DATABASE)
    for method, page, body in (
        ("DELETE", path, {}),
        ("POST", f"{path}/rename", {"study_name": "mine"}),
        ("POST", "/api/studies", {"study_name": "mine", "directions": ["maximize"]}),
        ("PUT", f"{path}/note", {"version": 1, "body": "a note"}),
        ("PUT", f"{path}/{trial_id}/note", {"version": 1, "body": "a note"}),
        ("POST", f"/api/trials/{trial_id + 1}/tell", {"state": "fail"}),
        ("POST", f"/api/trials/{trial_id + 1}/user-attrs", {"user_attrs": {"mine": 1}}),
    ):
        status, _ = ask_dashboard(application, page, method=method, sent=body)
        assert (page, status) == (page, refused)
    assert server.admin(_CONTENT, DATABASE) == before
    storage.engine.dispose()


def test_doctor_is_content_with_a_workers_rights(program: Program, server: ExternalServer) -> None:
    done = program.run_here("doctor", "--json", "--device", "cpu", **as_role(server, ROLES.worker))
    rights = {check["name"]: check for check in json.loads(done.stdout)["checks"]}["rights"]
    assert rights["status"] == "ok", rights
    assert "not create a study" in rights["detail"]
