"""docker-compose.yml fits the Compose specification, and opens nothing that it need not."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.deploy.files import COMPOSE_FILE, OUR_IMAGE, ROOT, read_compose

COMPOSE = read_compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith(OUR_IMAGE)}
LONG_RUNNING = {name: service for name, service in SERVICES.items() if service["restart"] != "no"}
WORKERS = {name: service for name, service in SERVICES.items() if name.startswith("worker")}
_DURATION_S = {"s": 1, "m": 60}


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    """Against the specification's JSON schema, which check-jsonschema carries."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def seconds(duration: str) -> int:
    return int(duration[:-1]) * _DURATION_S[duration[-1]]


def test_it_fits_the_schema_of_the_compose_specification() -> None:
    done = validate(COMPOSE_FILE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("    ports: [", "    port: ["),
        ("condition: service_healthy", "condition: healthy"),
        ("capabilities: [gpu]", "capabilities: gpu"),
    ],
)
def test_the_schema_finds_mistakes(tmp_path: Path, right: str, wrong: str) -> None:
    text = COMPOSE_FILE.read_text(encoding="utf-8")
    assert right in text
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(text.replace(right, wrong))
    assert validate(broken).returncode == 1


def test_the_services_are_those_that_the_other_tests_run() -> None:
    assert set(SERVICES) == {"database", "prepare", "dashboard", "worker", "worker-gpu", "desk"}
    assert set(OURS) == set(SERVICES) - {"database"}
    assert set(LONG_RUNNING) == set(SERVICES) - {"prepare", "desk"}


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_this_host_only(name: str) -> None:
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert ("ports" in service) == (name in ("database", "dashboard"))
    assert not {"privileged", "network_mode", "pid", "ipc", "cap_add", "devices"} & set(service)
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_passwords_are_in_secret_files_alone(name: str) -> None:
    service = SERVICES[name]
    environment: dict[str, str] = service["environment"]
    for variable, value in environment.items():
        if re.search("PASS|SECRET|TOKEN|KEY", variable) and not variable.endswith("_METHOD"):
            assert value.startswith(("/run/secrets/", "/run/anomalyvfm-opt/")), variable
        if "://" in value:
            assert make_url(value).password is None
    words = [*service["command"], *service.get("healthcheck", {}).get("test", [])]
    assert [word for word in words if re.search("password=|passfile=", word)] == []
    assert "env_file" not in service


def test_secrets_are_files_that_git_leaves_out() -> None:
    used = {secret for service in SERVICES.values() for secret in service["secrets"]}
    assert used == set(COMPOSE["secrets"])
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    assert {Path(secret["file"]).parts[0] for secret in COMPOSE["secrets"].values()} == {"secrets"}
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_only_workers_see_the_images_and_only_their_state_and_the_database_are_written_to() -> None:
    writable = {
        (name, mount["source"])
        for name, service in SERVICES.items()
        for mount in service.get("volumes", [])
        if not mount.get("read_only", False)
    }
    assert writable == {
        ("database", "database"),
        ("worker", "state"),
        ("worker-gpu", "state"),
        ("desk", "state"),
    }
    assert set(COMPOSE["volumes"]) == {"database", "state"}
    with_images = [name for name, each in SERVICES.items() if "/data" in str(each.get("volumes"))]
    assert with_images == [*WORKERS, "desk"]


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_no_more_rights_than_they_need(name: str) -> None:
    assert OURS[name]["read_only"] is True
    assert OURS[name]["cap_drop"] == ["ALL"]
    assert OURS[name]["init"] is True


def test_only_who_makes_tables_and_studies_has_the_owners_password() -> None:
    with_owner = {name for name, each in SERVICES.items() if "database_passfile" in each["secrets"]}
    assert with_owner == {"prepare", "desk"}
    for name, service in OURS.items():
        user = make_url(service["environment"]["ANOMALYVFM_OPT_DB_URL"]).username
        assert (user == "anomalyvfm_opt") == (name in with_owner), name


def test_images_can_be_named_by_digest() -> None:
    digest = "sha256:" + 64 * "0"
    settings = {
        "ANOMALYVFM_OPT_POSTGRES_IMAGE": f"postgres:18.4@{digest}",
        "ANOMALYVFM_OPT_PYTHON_IMAGE": f"python:3.12-slim-bookworm@{digest}",
    }
    services = read_compose(**settings)["services"]
    assert services["database"]["image"].endswith(f"@{digest}")
    assert services["prepare"]["build"]["args"]["PYTHON_IMAGE"].endswith(f"@{digest}")


def test_images_are_pinned_and_ours_is_of_this_version() -> None:
    assert all(re.fullmatch(r"[a-z-]+:\d+\.\d+(\.\d+)?", service["image"]) for service in SERVICES.values())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {service["image"] for service in OURS.values()} == {f"{OUR_IMAGE}:{version}"}
    assert [name for name, service in SERVICES.items() if "build" in service] == ["prepare"]


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_what_runs_for_long_is_checked_and_stopped_with_patience(name: str) -> None:
    service = LONG_RUNNING[name]
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert seconds(check["timeout"]) <= seconds(check["interval"])
    assert seconds(service["stop_grace_period"]) >= (60 if name != "dashboard" else 10)


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_that_cannot_work_is_not_restarted_for_ever(name: str) -> None:
    assert re.fullmatch(r"on-failure:\d+", WORKERS[name]["restart"])


@pytest.mark.parametrize("name", sorted(set(OURS) - {"prepare"}))
def test_the_tables_are_there_before_anything_needs_them(name: str) -> None:
    conditions = {each: wait["condition"] for each, wait in OURS[name]["depends_on"].items()}
    assert conditions == {"database": "service_healthy", "prepare": "service_completed_successfully"}
    assert SERVICES["prepare"]["depends_on"] == {"database": {"condition": "service_healthy"}}


def test_only_the_gpu_profile_asks_for_a_gpu() -> None:
    assert {name: service.get("profiles") for name, service in SERVICES.items() if "profiles" in service} == {
        "worker": ["cpu"],
        "worker-gpu": ["gpu"],
        "desk": ["desk"],
    }
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert [name for name, service in SERVICES.items() if "deploy" in service] == ["worker-gpu"]
