"""The README's commands run, in order, as they stand there."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from tests.docs.pages import README, ROOT, list_blocks
from tests.integration.external_server import DATABASE, ExternalServer

SHELL_BLOCKS = [block for block in list_blocks(README) if block.language == "sh"]
SIBLINGS = ("", "#replicates")  # of a study that is not confirmed


def test_every_command_block_says_how_it_is_tested() -> None:
    unmarked = [block.line for block in SHELL_BLOCKS if block.mark is None]
    assert not unmarked, f"no `<!-- test: ... -->` before the sh blocks at lines {unmarked}"
    assert any(block.mark == "run" for block in SHELL_BLOCKS)


def test_every_block_names_its_language() -> None:
    assert [block.line for block in list_blocks(README) if not block.language] == []


@pytest.fixture
def workplace() -> Iterator[Path]:
    """A folder with the specs, and with a state folder whose database is stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="anomalyvfm-opt-test-"))
    folder.chmod(0o711)  # for root the server runs as another user, who has to pass through
    shutil.copytree(ROOT / "studies", folder / "studies")
    try:
        yield folder
    finally:
        EmbeddedCluster(folder / "home").down()
        shutil.rmtree(folder)


def run_blocks(mark: str, workplace: Path, first: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run all blocks of a mark as one script in the workplace; the first that fails ends it."""
    commands = "\n".join(block.text for block in SHELL_BLOCKS if block.mark == mark)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANOMALYVFM_OPT_")}
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ours = {"PATH": search, "ANOMALYVFM_OPT_HOME": str(workplace / "home"), "DIR": "images", **environment}
    done = subprocess.run(
        ["bash", "-c", f"set -eux\n{first}\n{commands}"],
        cwd=workplace,
        env={**kept, **ours},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


@pytest.mark.slow
def test_the_commands_run(workplace: Path, external_server: ExternalServer) -> None:
    """On the embedded database first, then on a PostgreSQL with a password."""
    external_server.empty()
    done = run_blocks("run", workplace, "anomalyvfm-opt data demo images")
    assert "3 completed" in done.stderr
    assert "search.trials" in done.stdout  # the difference of two specs
    for category in ("brick", "grass", "gravel"):
        assert f"offline_quick/{category}" in done.stdout
    done = run_blocks("run on postgresql", workplace, "true", **external_server.environment)
    assert "2 completed" in done.stderr
    names = external_server.admin("SELECT study_name FROM studies ORDER BY 1", DATABASE)
    families = [(f"offline_quick/{category}{sibling}",) for category in ("brick", "grass") for sibling in SIBLINGS]
    assert names == families
