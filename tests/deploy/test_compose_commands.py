"""Every command and health check of docker-compose.yml does what it is there for."""

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

import psycopg2
import pytest
import torch
from sqlalchemy import make_url, text

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.engine import check_connection, make_engine
from anomalyvfm_opt.store.schema import HEAD
from anomalyvfm_opt.store.studies import load_study
from tests.deploy.conftest import find_ports
from tests.deploy.deployment import Deployment
from tests.integration.program import CATEGORY, assert_one_error, finish, wait_for, write_spec

STUDY = f"composed/{CATEGORY}"


def query(deployment: Deployment, statement: str) -> str:
    engine = make_engine(deployment.url())
    with engine.connect() as connection:
        value = str(connection.execute(text(statement)).scalar())
    engine.dispose()
    return value


@contextmanager
def started(deployment: Deployment, name: str) -> Iterator[subprocess.Popen[str]]:
    """A service that runs, killed at the latest at the end."""
    process = deployment.start(name)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_the_database_is_the_images_version_with_the_commands_settings(deployment: Deployment) -> None:
    image = deployment.service("database")["image"]
    assert query(deployment, "SHOW server_version").partition(".")[0] == image.partition(":")[2].partition(".")[0]
    assert query(deployment, "SHOW max_connections") == "300"
    assert (
        query(deployment, "SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolcanlogin") == "True"
    )


def test_the_database_check_tells_whether_it_runs(deployment: Deployment) -> None:
    assert deployment.check("database") == 0
    (unused,) = find_ports(1)
    assert deployment.check("database", PGPORT=str(unused)) != 0


def test_the_database_lets_nobody_in_without_the_password(deployment: Deployment) -> None:
    url = deployment.url().partition("?")[0]
    with pytest.raises(EnvironmentMissingError, match="no password for user anomalyvfm_opt"):
        check_connection(make_engine(f"{url}?passfile=/dev/null"))


def test_prepare_has_made_the_tables_and_may_be_repeated(deployment: Deployment) -> None:
    assert query(deployment, "SELECT version_num FROM anomalyvfm_opt.schema_version") == HEAD
    done = deployment.run("prepare")
    assert done.returncode == 0, done.stderr
    assert f"schema version {HEAD} -> {HEAD}" in done.stderr
    assert "password" not in done.stderr  # all roles have theirs


@pytest.mark.parametrize(("name", "role"), [("worker", "worker"), ("dashboard", "viewer")])
def test_workers_and_dashboard_have_roles_of_their_own(deployment: Deployment, name: str, role: str) -> None:
    url = make_url(deployment.environment(name)["ANOMALYVFM_OPT_DB_URL"])
    assert url.username == f"anomalyvfm_opt_{role}"
    listed = deployment.run(name, "anomalyvfm-opt", "study", "list")
    assert listed.returncode == 0, listed.stderr
    refused = deployment.run(name, "anomalyvfm-opt", "db", "roles")
    assert f"user anomalyvfm_opt_{role} may not give rights" in assert_one_error(refused, 3)


def test_other_databases_of_the_server_are_closed_to_them(deployment: Deployment) -> None:
    environment = deployment.environment("worker")
    url = make_url(environment["ANOMALYVFM_OPT_DB_URL"]).set(database="postgres")
    passfile = deployment.folder / "run" / "any_database"
    line = Path(environment["PGPASSFILE_SECRET"]).read_text()
    passfile.write_text(line.replace(":anomalyvfm_opt:", ":*:"))
    passfile.chmod(0o600)
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        psycopg2.connect(url.render_as_string(), passfile=str(passfile))


def test_doctor_is_content_with_the_roles(deployment: Deployment) -> None:
    done = deployment.run("desk", "anomalyvfm-opt", "doctor", "--json", "--device", "cpu")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["roles"]["status"] == "ok", checks["roles"]


@pytest.mark.parametrize("name", ["prepare", "dashboard", "worker", "worker-gpu", "desk"])
def test_without_its_secret_a_service_says_so(deployment: Deployment, name: str) -> None:
    done = deployment.run(name, PGPASSFILE_SECRET="/nowhere/passfile")  # noqa: S106 - a path
    assert "/nowhere/passfile" in assert_one_error(done, 3)


def test_the_dashboard_answers_and_its_check_tells_whether_it_does(deployment: Deployment) -> None:
    assert deployment.check("dashboard") != 0
    with started(deployment, "dashboard") as process:
        wait_for(lambda: process.poll() is not None or deployment.check("dashboard") == 0)
        port = deployment.dashboard_port
        url = f"http://127.0.0.2:{port}/api/studies"  # as from outside
        with pytest.raises(HTTPError, match="401"):
            urllib.request.urlopen(url, timeout=10)
        token = (deployment.folder / "secrets" / "dashboard_token").read_text().strip()
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM


@pytest.mark.slow
def test_a_worker_serves_a_study_and_ends_when_it_is_stopped(deployment: Deployment) -> None:
    write_spec(deployment.folder / "studies", "composed", references=["frozen"], search={"trials": 1})
    create = ["study", "create", "/studies/composed.yaml", "--data", "/data", "--category", CATEGORY]
    created = deployment.run("desk", "anomalyvfm-opt", *create)
    assert created.returncode == 0, created.stderr
    engine = make_engine(deployment.url())
    study_id = load_study(engine, STUDY).study_id
    with started(deployment, "worker") as process:
        wait_for(lambda: process.poll() is not None or count_usage(engine, study_id).complete == 1)
        assert deployment.check("worker") == 0
        assert process.poll() is None  # nothing is left to do, and it keeps running
        process.send_signal(signal.SIGTERM)
        done = finish(process, deployment.grace_s("worker"))
    engine.dispose()
    assert done.returncode == 143, done.stderr
    assert "worker stopped: 1 completed" in done.stderr


def test_a_workers_check_fails_where_the_store_is_out_of_reach(deployment: Deployment) -> None:
    (unused,) = find_ports(1)
    url = f"postgresql://anomalyvfm_opt@127.0.0.1:{unused}/anomalyvfm_opt"
    assert deployment.check("worker", ANOMALYVFM_OPT_DB_URL=url) != 0
    assert assert_one_error(deployment.run("worker", ANOMALYVFM_OPT_DB_URL=url), 3)


def test_the_gpu_worker_asks_for_a_gpu(deployment: Deployment) -> None:
    with started(deployment, "worker-gpu") as process:
        if torch.cuda.is_available():
            wait_for(lambda: process.poll() is not None or deployment.check("worker-gpu") == 0)
            process.send_signal(signal.SIGTERM)
            assert finish(process, deployment.grace_s("worker-gpu")).returncode in (143, -signal.SIGTERM)
        else:
            assert "--device cuda: this process sees 0 GPUs" in assert_one_error(finish(process), 3)
