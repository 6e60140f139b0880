"""docs/database.md: its steps lead to a database that works, and to a backup that can be restored."""

import os
import re
import subprocess
import sys
from pathlib import Path

from anomalyvfm_opt.store.embedded.binaries import find_installation
from tests.docs.pages import ROOT, list_blocks
from tests.integration.external_server import ExternalServer

PAGE = ROOT / "docs" / "database.md"
NAME = "anomalyvfm_opt"


def find_blocks(language: str, containing: str) -> list[str]:
    blocks = [b.text for b in list_blocks(PAGE) if b.language == language and containing in b.text]
    assert blocks, containing
    return blocks


def run(script: str, folder: Path, given: str = "") -> str:
    """Run a block as a user with an empty home does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANOMALYVFM_OPT_", "PG"))}
    programs = [str(Path(sys.executable).parent), str(find_installation().folder / "bin"), os.environ["PATH"]]
    environment = {**kept, "HOME": str(folder), "PATH": os.pathsep.join(programs)}
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_steps_of_the_page_lead_to_a_database_that_works(
    external_server: ExternalServer, tmp_path: Path
) -> None:
    def localise(text: str) -> str:
        port = str(external_server.port)
        moved = text.replace("db.example.org:5432", f"127.0.0.1:{port}")
        return moved.replace("-h db.example.org -p 5432", f"-h 127.0.0.1 -p {port}")

    (making,), (granting,) = find_blocks("sql", "CREATE ROLE"), find_blocks("sql", "GRANT")
    for statement in re.findall(r"[^;]+;", making):
        external_server.admin(statement)
    external_server.admin(f"ALTER ROLE {NAME} PASSWORD 'hunter2'")  # what \password does
    for statement in re.findall(r"[^;]+;", granting):
        external_server.admin(statement, NAME)
    try:
        (line,) = find_blocks("text", "THE_PASSWORD")
        (passfile,) = find_blocks("sh", "umask")
        run(passfile, tmp_path, localise(line).replace("THE_PASSWORD", "hunter2"))
        assert (tmp_path / "anomalyvfm-opt.passfile").stat().st_mode & 0o777 == 0o600
        (use,) = find_blocks("sh", "export PGPASSFILE")
        (dump,), (restore,) = find_blocks("sh", "pg_dump"), find_blocks("sh", "pg_restore")
        upgrade = "".join(text for text in find_blocks("sh", "db upgrade"))
        run(localise(use + upgrade + dump), tmp_path)
        external_server.admin(f"DROP DATABASE {NAME} WITH (FORCE)")
        external_server.admin(f"CREATE DATABASE {NAME} OWNER {NAME}")
        export = "\n".join(text for text in use.splitlines() if text.startswith("export"))
        run(localise(f"{export}\n{restore}anomalyvfm-opt study list"), tmp_path)
    finally:
        external_server.admin(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        external_server.admin(f"DROP ROLE {NAME}")
