"""What MkDocs does not know of this repository: pages and files outside docs/, and how to draw diagrams.

A link on a page is written as it works in the repository: relative to the page. In the site, README.md,
CHANGELOG.md, CONTRIBUTING.md and SECURITY.md are pages under project/, and every other file or folder of the
repository that a page links to is a page under files/ that shows it. Diagrams are drawn while the site is built,
so that it loads no script for them.
"""

import os
import re
import zlib
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PROJECT_PAGES = {
    ROOT / "README.md": "project/readme.md",
    ROOT / "CONTRIBUTING.md": "project/contributing.md",
    ROOT / "CHANGELOG.md": "project/changelog.md",
    ROOT / "SECURITY.md": "project/security.md",
}
LANGUAGES = {".py": "python", ".sql": "sql", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sh": "sh"}
_LEAST_SCALE = 0.6  # of the size that a diagram is drawn in
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the project, and one for each file outside docs/ that a page links to."""
    for source, uri in PROJECT_PAGES.items():
        files.append(File.generated(config, uri, content=source.read_text(encoding="utf-8")))
    pages = [*PROJECT_PAGES, *(path for path in DOCS.rglob("*.md"))]
    linked = {target for page in pages for target in list_targets(page) if is_shown(target)}
    for target in sorted(linked):
        files.append(File.generated(config, name_uri(target), content=show_file(target)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point the links of a page at pages of the site, and draw its diagrams."""
    uri = page.file.src_uri
    if uri.startswith("files/"):
        return markdown
    source = next((path for path, name in PROJECT_PAGES.items() if name == uri), DOCS / uri)
    parts = _FENCE.split(markdown)
    fences = _FENCE.findall(markdown)
    prose = [_LINK.sub(lambda match: point_link(match[1], source, uri), part) for part in parts]
    drawn = [_DIAGRAM.sub(lambda match: draw_diagram(match[1], uri), fence) for fence in fences]
    return "".join(text for pair in zip(prose, [*drawn, ""], strict=True) for text in pair)


def list_targets(page: Path) -> list[Path]:
    """Return the files and folders that a page's relative links lead to."""
    links = _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    places = [link.partition("#")[0] for link in links if "://" not in link]
    return [(page.parent / place).resolve() for place in places if place]


def is_shown(target: Path) -> bool:
    """Return whether a target becomes a page under files/: it exists, and is no page of the site itself."""
    return target.exists() and target not in PROJECT_PAGES and not is_page(target)


def is_page(target: Path) -> bool:
    """Return whether MkDocs itself has a target: a Markdown file below docs/, a folder of them, or a picture."""
    return target.is_relative_to(DOCS) and target.suffix in ("", ".md", ".png")


def name_uri(target: Path) -> str:
    """Return the page of the site, relative to docs/, that a file or folder of the repository is shown on."""
    if target in PROJECT_PAGES:
        return PROJECT_PAGES[target]
    if is_page(target):
        return (target / "README.md" if target.is_dir() else target).relative_to(DOCS).as_posix()
    name = target.relative_to(ROOT).as_posix()
    return f"files/{name}/index.md" if target.is_dir() else f"files/{name}.md"


def show_file(target: Path) -> str:
    """Return a page with a file's text, or with the names in a folder."""
    title = f"# {target.relative_to(ROOT).as_posix()}\n\n"
    if target.is_dir():
        names = sorted(path.name for path in target.iterdir() if path.name[0] not in "._")
        return title + "".join(f"- `{name}`\n" for name in names)
    text = target.read_text(encoding="utf-8")
    return f"{title}````{LANGUAGES.get(target.suffix, 'text')}\n{text}````\n"


def point_link(link: str, source: Path, uri: str) -> str:
    """Return where a link of a page leads in the site; MkDocs itself warns of what does not exist."""
    place, hash_mark, anchor = link.partition("#")
    if "://" in link or not place:
        return link
    target = (source.parent / place).resolve()
    if not target.exists():
        return link
    return os.path.relpath(name_uri(target), Path(uri).parent.as_posix()) + hash_mark + anchor


def draw_diagram(text: str, uri: str) -> str:
    """Return a Mermaid diagram as SVG in one line of HTML.

    Raises:
        PluginError: the diagram cannot be read.
    """
    import mermaidx

    try:
        svg = mermaidx.render(text).svg()
    except RuntimeError as error:
        raise PluginError(f"a diagram of {uri} cannot be drawn: {error}") from error
    name = f"diagram-{zlib.crc32(text.encode())}"  # unique on a page, the same in each build
    width = round(_LEAST_SCALE * float(re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+)', svg)[1]))
    style = f"min-width: {width}px"  # below it the words are too small to read: a narrow screen scrolls sideways
    drawn = f'<div class="diagram"><div style="{style}">{svg.replace("my-svg", name)}</div></div>'
    return drawn.replace("\n", " ")
