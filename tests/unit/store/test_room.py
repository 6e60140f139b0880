"""What stays inside the store's room: SQL."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import anomalyvfm_opt

PACKAGE = Path(anomalyvfm_opt.__file__).parent
OUTSIDE = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "store")
# What others need to name: whom they hand on, and what they catch.
_ALLOWED = {
    "sqlalchemy": {"Connection", "Engine", "Row"},
    "sqlalchemy.engine": {"URL", "make_url"},
    "sqlalchemy.exc": None,
}


def list_imports(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_outside_the_store_can_write_a_statement(path: Path) -> None:
    for module, name in list_imports(path):
        if module.split(".")[0] != "sqlalchemy":
            continue
        assert module in _ALLOWED, f"{module} makes statements"
        allowed = _ALLOWED[module]
        assert allowed is None or name in allowed, f"{name} makes statements"
    assert "exec_driver_sql" not in path.read_text(encoding="utf-8")
