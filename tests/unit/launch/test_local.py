"""Workers of this host are our program, wherever they are started."""

from pathlib import Path

import pytest

from anomalyvfm_opt.launch.base import Slot
from anomalyvfm_opt.launch.local import LocalLauncher

_LIMIT_S = 120


@pytest.mark.parametrize("is_tied", [False, True], ids=["on its own", "tied to us"])
@pytest.mark.parametrize("name", ["random.py", "anomalyvfm_opt.py", "typer.py"])
def test_nothing_is_imported_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_tied: bool
) -> None:
    (tmp_path / name).write_text("raise SystemExit(f'{__file__} was run')\n")
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    launcher = LocalLauncher(lambda _slot, line: lines.append(line), is_tied)
    launcher.start(Slot(1, "here"), ["--help"])
    ended = launcher.exits.wait(_LIMIT_S)
    assert ended is not None
    assert ended.code == 0, lines
    assert any("Usage: anomalyvfm-opt worker run" in line for line in lines)
