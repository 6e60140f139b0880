"""What the pages say of fields, defaults, files and commands is so."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python
from ruamel.yaml import YAML

from anomalyvfm_opt.cli.main import app
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.space import FloatRange, IntRange
from tests.docs.pages import ROOT, SPEC_PAGE, list_anchors, list_blocks, list_links, list_pages

PAGES = list_pages()
_REQUIRED = "required"
_ROW = re.compile(r"^\| `([a-z0-9_.]+)` \| .+? \| (.+?) \| ", re.MULTILINE)
_COMMAND = re.compile(r"anomalyvfm-opt(?: ([a-z]+(?:-[a-z]+)*))?(?: ([a-z]+))?")


def name_page(page: Path) -> str:
    return str(page.relative_to(ROOT))


def walk_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaf fields as (path, default as plain JSON, or `required`); a range is a leaf."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
        if is_section and kind not in (FloatRange, IntRange):
            yield from walk_fields(kind, f"{prefix}{name}.")
        elif field.default is PydanticUndefined:
            yield f"{prefix}{name}", _REQUIRED
        else:
            yield f"{prefix}{name}", to_jsonable_python(field.default)


def read_defaults() -> dict[str, Any]:
    yaml = YAML(typ="safe", pure=True)
    rows = _ROW.findall(SPEC_PAGE.read_text(encoding="utf-8"))
    return {path: yaml.load(cell.strip("`")) for path, cell in rows}


@pytest.mark.parametrize(("path", "default"), list(walk_fields(Spec)))
def test_every_field_of_the_spec_stands_in_its_page_with_its_default(path: str, default: Any) -> None:
    assert read_defaults()[path] == default


def test_the_page_names_no_field_that_there_is_not() -> None:
    known = {path for path, _ in walk_fields(Spec)} | {"search.space"}
    unknown = {path for path in read_defaults() if path not in known}
    assert unknown == set()


def test_every_shipped_spec_is_named() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    missing = [path.name for path in (ROOT / "studies").glob("*.yaml") if path.name not in text]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_relative_link_resolves(page: Path) -> None:
    broken = []
    for link in list_links(page):
        if link.startswith(("http://", "https://")):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in list_anchors(target)):
            broken.append(link)
    assert broken == []


def list_commands() -> dict[str, set[str]]:
    """Noun -> its verbs; a command without verbs has none."""
    root = typer.main.get_command(app)
    return {noun: set(getattr(command, "commands", {})) for noun, command in root.commands.items()}  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_command_that_is_named_exists(page: Path) -> None:
    known = list_commands()
    text = page.read_text(encoding="utf-8")
    spans = re.findall(r"`([^`\n]+)`", text) + [block.text for block in list_blocks(page)]
    named = [match for span in spans for match in _COMMAND.findall(span) if match[0]]
    unknown = [
        f"{noun} {verb}".strip()
        for noun, verb in named
        if noun not in known or (known[noun] and verb not in known[noun])
    ]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_prose_is_wrapped(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    long = [line for line in text.splitlines() if len(line) > 115 and not line.startswith(("|", "    "))]
    assert long == []
