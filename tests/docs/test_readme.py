"""The commands of the README and of the tours after it run, in order, as they stand there."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from tests.docs.pages import README, ROOT, TOUR, list_blocks
from tests.integration.external_server import DATABASE, ExternalServer
from tests.integration.program import CATEGORY, FinishedStudy, Program

SHELL_BLOCKS = [block for page in TOUR for block in list_blocks(page) if block.language == "sh"]
SIBLINGS = ("", "#replicates")  # of a study that is not confirmed


def test_every_command_block_says_how_it_is_tested() -> None:
    unmarked = [block.line for block in SHELL_BLOCKS if block.mark is None]
    assert not unmarked, f"no `<!-- test: ... -->` before the sh blocks at lines {unmarked}"
    assert any(block.mark == "run" for block in SHELL_BLOCKS)


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200


def test_every_block_names_its_language() -> None:
    assert [(page.name, block.line) for page in TOUR for block in list_blocks(page) if not block.language] == []


@pytest.fixture
def workplace() -> Iterator[Path]:
    """A folder with the specs, one of them shorter, and a state folder whose database is stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="anomalyvfm-opt-test-"))
    folder.chmod(0o711)  # for root the server runs as another user, who has to pass through
    shutil.copytree(ROOT / "studies", folder / "studies")
    spec = folder / "studies" / "offline_quick.yaml"
    as_shipped = spec.read_text(encoding="utf-8")
    shorter = as_shipped.replace("steps_per_epoch: 12", "steps_per_epoch: 2")  # the commands stay as they are
    assert shorter != as_shipped
    spec.write_text(shorter, encoding="utf-8")
    try:
        yield folder
    finally:
        EmbeddedCluster(folder / "home").down()
        shutil.rmtree(folder)


def run_blocks(
    mark: str, workplace: Path, first: str, study: str = "offline_quick/bracket", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run all blocks of a mark as one script in the workplace; the first that fails ends it."""
    blocks = "\n".join(block.text for block in SHELL_BLOCKS if block.mark == mark)
    commands = blocks.replace("offline_quick/bracket", study).replace("bracket", study.partition("/")[2])
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


def test_what_you_get_is_what_it_says(program: Program, finished_study: FinishedStudy, tmp_path: Path) -> None:
    """From study to heat map in three lines."""
    ours = {"ANOMALYVFM_OPT_HOME": str(program.cluster.home), "DIR": str(program.data)}
    done = run_blocks("run on a finished study", tmp_path, "true", finished_study.name, **ours)
    assert "are those of the trial within" in done.stderr
    assert "all files are whole" in done.stderr
    overlays = {path.name for path in (tmp_path / "results" / "overlays").iterdir()}
    assert overlays == {path.name for path in (program.data / CATEGORY / "test_public" / "bad").iterdir()}
    assert len((tmp_path / "results" / "scores.csv").read_text().splitlines()) == 1 + len(overlays)
