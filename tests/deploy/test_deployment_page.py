"""The deployment page: its commands name what there is, and those that need no engine run as they stand there."""

import os
import re
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.schema import HEAD
from tests.deploy.deployment import Deployment
from tests.deploy.files import COMPOSE_FILE, ROOT, read_compose
from tests.deploy.test_compose_file import validate
from tests.docs.pages import Block, list_blocks

PAGE = ROOT / "docs" / "deployment.md"
BLOCKS = list_blocks(PAGE)
COMMANDS = [
    line.partition(" #")[0].split()[2:]
    for block in BLOCKS
    if block.language == "sh"
    for line in block.text.splitlines()
    if line.startswith("docker compose ")
]
RUN = [block for block in BLOCKS if block.mark == "run"]
# What `docker compose exec --no-TTY database COMMAND` does here: the database is a process of this host.
DOCKER = """#!/bin/sh
[ "$1 $2 $3 $4" = "compose exec --no-TTY database" ] || exit 64
shift 4
exec "$@"
"""


def test_every_command_block_says_how_it_is_tested() -> None:
    assert [block.line for block in BLOCKS if block.language == "sh" and block.mark is None] == []


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_services_and_profiles_that_are_named_exist(words: list[str]) -> None:
    services = read_compose()["services"]
    profiles = {profile for service in services.values() for profile in service.get("profiles", [])}
    named = {words[index + 1] for index, word in enumerate(words) if word == "--profile"}
    assert named <= profiles
    rest = [word for word in words if not word.startswith("--") and word not in named]
    assert rest[0] in {"build", "up", "ps", "run", "logs", "exec", "stop", "down"}
    assert not rest[1:] or rest[1] in services


def test_settings_in_the_page_are_those_of_the_file() -> None:
    text = COMPOSE_FILE.read_text(encoding="utf-8")
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    rows = re.findall(r"^\| `(ANOMALYVFM_OPT_\w+)` \| .+ \| `?([^|`]+?)`? \|$", PAGE.read_text(), re.MULTILINE)
    assert dict(rows) == defaults


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "yaml"], ids=lambda b: str(b.line)
)
def test_override_files_fit_the_schema_and_name_services(tmp_path: Path, block: Block) -> None:
    path = tmp_path / "docker-compose.override.yml"
    path.write_text(block.text)
    assert validate(path).returncode == 0
    content = YAML(typ="safe", pure=True).load(StringIO(block.text))
    for name, service in content["services"].items():
        base = service.get("extends", {"service": name, "file": COMPOSE_FILE.name})
        assert base["service"] in read_compose()["services"]
        assert base["file"] == COMPOSE_FILE.name


def run_block(deployment: Deployment, folder: Path, text: str, **environment: str) -> None:
    """Run a block with a `docker` that runs the command on this host."""
    docker = folder / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    path = f"{folder}{os.pathsep}{deployment.environment('database')['PATH']}"
    place = {"PATH": path, "PGHOST": "127.0.0.1", **environment}
    done = subprocess.run(
        ["sh", "-euc", deployment.translate(text)],
        cwd=folder,
        env={**deployment.environment("database"), **place},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr


def read_version(deployment: Deployment) -> str | None:
    engine = make_engine(deployment.url())
    with engine.connect() as connection:
        is_there = connection.exec_driver_sql("SELECT to_regclass('anomalyvfm_opt.schema_version')").scalar()
        statement = "SELECT version_num FROM anomalyvfm_opt.schema_version"
        version = connection.exec_driver_sql(statement).scalar() if is_there else None
    engine.dispose()
    return version


def test_a_backup_is_restored_and_the_password_changes(deployment: Deployment, tmp_path: Path) -> None:
    rotate, backup, restore = (block.text for block in RUN)
    assert ("ALTER ROLE" in rotate, "pg_dump" in backup, "pg_restore" in restore) == (True, True, True)
    password = deployment.password()
    run_block(deployment, tmp_path, backup, PGPASSWORD=password)
    engine = make_engine(deployment.url())
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA anomalyvfm_opt CASCADE")
    engine.dispose()
    assert read_version(deployment) is None
    run_block(deployment, tmp_path, restore, PGPASSWORD=password)
    assert read_version(deployment) == HEAD

    secret = deployment.folder / "secrets" / "database_password"
    secret.unlink()
    secret.write_text("another\n")
    run_block(deployment, tmp_path, rotate, PGPASSWORD=password)
    try:
        run_block(deployment, tmp_path, backup, PGPASSWORD="another")
    finally:
        secret.write_text(f"{password}\n")
        run_block(deployment, tmp_path, rotate, PGPASSWORD="another")
