"""What stays inside the store's room, which is SQL, and how its modules stand to each other."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
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
    return walk_imports(ast.parse(path.read_text(encoding="utf-8")))


def walk_imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
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


def name_module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def test_no_two_modules_of_the_store_need_each_other() -> None:
    """Imports inside of functions count, those for type checkers alone do not."""
    modules = {name_module(path): path for path in (PACKAGE / "store").rglob("*.py")}
    needed: dict[str, set[str]] = {}
    for name, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = []
        imported = {*map(".".join, walk_imports(tree)), *(module for module, _ in walk_imports(tree))}
        needed[name] = imported & modules.keys() - {name}
    assert list(TopologicalSorter(needed).static_order())  # raises CycleError
