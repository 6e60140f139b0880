"""The project's Markdown pages, and what the tests need to know of them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TOUR = (README, ROOT / "docs" / "first_study.md", ROOT / "docs" / "several_machines.md")  # read in this order
SPEC_PAGE = ROOT / "docs" / "spec.md"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(
    r"<!-- test: (run|run on postgresql|run on several hosts|run on a finished study|skip: [^>]+?) -->\n\Z"
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the mark above it, if any: how it is run, or `skip: why`."""

    language: str
    text: str
    mark: str | None
    line: int


def list_pages() -> list[Path]:
    return [
        README,
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


def list_blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    blocks = []
    for fence in _FENCE.finditer(text):
        mark = _MARK.search(text[: fence.start()])
        line = text.count("\n", 0, fence.start()) + 1
        blocks.append(Block(fence[1], fence[2], mark[1] if mark else None, line))
    return blocks


def list_links(page: Path) -> list[str]:
    """Targets of links, those in fenced blocks left out."""
    return _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))


def list_anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
