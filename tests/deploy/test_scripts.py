"""The shell scripts of the deployment."""

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import ROOT

SCRIPTS = sorted((ROOT / "deploy").glob("*.sh"))
ENTRYPOINT = ROOT / "deploy" / "entrypoint.sh"
MAKE_SECRETS = ROOT / "deploy" / "make_secrets.sh"


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"]}
    words = list(map(str, command))
    return subprocess.run(words, env={**kept, **environment}, capture_output=True, text=True, timeout=60)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_shell_can_read_them(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n")
    assert os.access(script, os.X_OK)
    done = run("sh", "-n", script)
    assert (done.returncode, done.stderr) == (0, "")


def test_secrets_are_made_once_for_containers_in_a_closed_folder(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    done = run(MAKE_SECRETS, folder)
    assert done.returncode == 0, done.stderr
    password = (folder / "database_password").read_text().strip()
    assert re.fullmatch("[0-9a-f]{64}", password)
    line = (folder / "database_passfile").read_text()
    assert line == f"database:5432:anomalyvfm_opt:anomalyvfm_opt:{password}\n"
    token = (folder / "dashboard_token").read_text().strip()
    assert re.fullmatch("[0-9a-f]{64}", token)
    secrets = {token, password}
    for role in ("worker", "viewer"):
        *place, own = (folder / f"{role}_passfile").read_text().strip().split(":")
        assert place == ["database", "5432", "anomalyvfm_opt", f"anomalyvfm_opt_{role}"]
        secrets.add(own)
    assert len(secrets) == 4
    assert not secrets & set(re.split(r"\W", done.stdout + done.stderr))
    assert mode(folder) == 0o700
    assert {mode(file) for file in folder.iterdir()} == {0o444}

    again = run(MAKE_SECRETS, folder)
    assert again.returncode == 2
    assert "already there" in again.stderr
    assert (folder / "database_password").read_text().strip() == password


def test_every_installation_has_a_password_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(MAKE_SECRETS, tmp_path / name)
    assert (tmp_path / "a/database_password").read_text() != (tmp_path / "b/database_password").read_text()


def test_the_entrypoint_makes_a_private_copy_and_becomes_the_command(tmp_path: Path) -> None:
    secret, passfile = tmp_path / "secret", tmp_path / "passfile"
    secret.write_text("database:5432:a:b:c\n")
    secret.chmod(0o444)
    names = {"PGPASSFILE_SECRET": str(secret), "PGPASSFILE": str(passfile)}
    for _ in range(2):  # a container may be restarted
        done = run(ENTRYPOINT, "sh", "-c", 'cat "$PGPASSFILE"; umask; exit 7', **names)
        assert done.returncode == 7
        assert done.stdout == secret.read_text() + run("sh", "-c", "umask").stdout
        assert mode(passfile) == 0o600


def test_the_entrypoint_copies_the_dashboards_token_beside_it(tmp_path: Path) -> None:
    for name in ("secret", "token"):
        (tmp_path / name).write_text(f"{name}\n")
    names = {"PGPASSFILE_SECRET": f"{tmp_path}/secret", "PGPASSFILE": f"{tmp_path}/passfile"}
    done = run(ENTRYPOINT, "true", DASHBOARD_TOKEN_SECRET=f"{tmp_path}/token", **names)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dashboard_token").read_text() == "token\n"
    assert mode(tmp_path / "dashboard_token") == 0o600


def test_the_entrypoint_passes_arguments_on_unchanged() -> None:
    assert run(ENTRYPOINT, "printf", "<%s>", "a b", "$HOME", "*").stdout == "<a b><$HOME><*>"


def test_the_entrypoint_says_which_secret_is_missing(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    done = run(ENTRYPOINT, "true", PGPASSFILE_SECRET=str(missing), PGPASSFILE=str(tmp_path / "passfile"))
    assert done.returncode == 3
    assert str(missing) in done.stderr
    assert not (tmp_path / "passfile").exists()
