"""The README's commands run, in order, as they stand there."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from anomalyvfm_opt.store.embedded import EmbeddedCluster
from tests.docs.pages import README, ROOT, list_blocks

SHELL_BLOCKS = [block for block in list_blocks(README) if block.language == "sh"]


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


@pytest.mark.slow
def test_the_commands_run(workplace: Path) -> None:
    commands = "\n".join(block.text for block in SHELL_BLOCKS if block.mark == "run")
    script = f"set -eux\nanomalyvfm-opt data demo images\nDIR=images\n{commands}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANOMALYVFM_OPT_")}
    environment = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ANOMALYVFM_OPT_HOME": str(workplace / "home"),
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=workplace, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "3 completed" in done.stderr
    for category in ("brick", "grass", "gravel"):
        assert f"offline_quick/{category}" in done.stdout
