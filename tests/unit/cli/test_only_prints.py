"""The command line declares options and prints: what only computes has a room of its own."""

import ast
from pathlib import Path

import pytest

import anomalyvfm_opt.cli

_ROOM = Path(anomalyvfm_opt.cli.__file__).parent
_MOST_LINES = 3500  # of the whole room
_MOST_OF_A_FILE = 300
_PRINTERS = ("typer", "rich", "anomalyvfm_opt.cli.output", "anomalyvfm_opt.cli.tables")


def speaks(source: str) -> bool:
    """Whether a module imports what parses or prints, or writes to a standard stream itself."""
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(name == printer or name.startswith(f"{printer}.") for name in names for printer in _PRINTERS):
            return True
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout.write", "sys.stderr.write"):
            return True
    return False


@pytest.mark.parametrize(
    ("source", "is_so"),
    [
        ("import typer", True),
        ("from rich.table import Table", True),
        ("def f():\n    from anomalyvfm_opt.cli.output import say", True),
        ("import sys\nsys.stderr.write('')", True),
        ("from typer_of_another import app", False),
        ("from anomalyvfm_opt.report.grid import Grid\nGrid('', (), [])", False),
    ],
)
def test_a_module_speaks_if_it_parses_or_prints(source: str, is_so: bool) -> None:
    assert speaks(source) == is_so


def test_every_file_of_the_command_line_parses_or_prints() -> None:
    files = [file for file in sorted(_ROOM.rglob("*.py")) if file.name != "__init__.py"]
    assert _ROOM / "main.py" in files
    assert [file.name for file in files if not speaks(file.read_text("utf-8"))] == []


def test_the_command_line_stays_small() -> None:
    lengths = {file: len(file.read_text("utf-8").splitlines()) for file in _ROOM.rglob("*.py")}
    assert sum(lengths.values()) <= _MOST_LINES
    assert [file.name for file, length in lengths.items() if length > _MOST_OF_A_FILE] == []
