"""The site that `make site` builds: nothing comes from another host, and links into the code lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytest.importorskip("mkdocs", reason="the extra docs is not installed")
pytest.importorskip("mermaidx", reason="the extra docs is not installed")
_LOADED = re.compile(
    r'<(?:script|img|iframe)[^>]* src="(https?:)?//|<link[^>]* rel="(?!canonical)[^"]*" href="https?://'
)


def build(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
    return subprocess.run(
        [*command, "--site-dir", str(folder)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    assert [page.name for page in pages if _LOADED.search(page.read_text(encoding="utf-8"))] == []


def test_diagrams_are_drawn(site: Path) -> None:
    text = (site / "architecture.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<div class="diagram"><div style="min-width: \d+px"><svg', text)) == 2
    assert not [page for page in site.rglob("*.html") if 'class="mermaid"' in page.read_text(encoding="utf-8")]


def test_a_link_into_the_code_leads_to_a_page_that_shows_it(site: Path) -> None:
    text = (site / "architecture.html").read_text(encoding="utf-8")
    links = re.findall(r'href="(files/[^"#]+)"', text)
    assert len(links) > 30
    assert [link for link in links if not (site / link).is_file()] == []
    assert "class DirectStorage" in re.sub(
        "<[^>]+>", "", (site / "files/anomalyvfm_opt/store/direct.py.html").read_text()
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[gone](gone.md)", "gone.md"),
        ("[gone](data.md#gone)", "#gone"),
        ("[gone](../anomalyvfm_opt/gone.py)", "gone.py"),
        ("```mermaid\nflowchart LR\n  a -- b ->\n```", "cannot be drawn"),
    ],
)
def test_a_dead_link_or_a_broken_diagram_fails_the_build(line: str, complaint: str, tmp_path: Path) -> None:
    """On a copy of two pages."""
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("data.md", "site_hook.py"):
        (docs / name).write_text((ROOT / "docs" / name).read_text(encoding="utf-8"), encoding="utf-8")
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"):
        (tmp_path / name).write_text("# A page\n", encoding="utf-8")
    (docs / "page.md").write_text(f"# A page\n\n{line}\n", encoding="utf-8")
    shared = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[0]
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"{shared.replace('omitted_files: warn', 'omitted_files: ignore')}\n", encoding="utf-8")
    done = build(config, tmp_path / "site")
    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr


def test_make_builds_strictly() -> None:
    """With `--quiet` MkDocs drops its warnings before they are counted, and a dead link passes."""
    (line,) = (line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "/mkdocs " in line)
    assert "--strict" in line
    assert "--quiet" not in line
