"""What the pages for developers say of folders, files, layers, make's targets and decisions is so."""

import re
import tomllib

from tests.docs.pages import ROOT, list_blocks

ARCHITECTURE = ROOT / "docs" / "architecture.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DECISIONS = ROOT / "docs" / "decisions"
_SPAN = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[\w.]+(?:/[\w.]+)*(?:/|\.(?:py|sql|toml|yml|json|md))")


def list_paths(text: str) -> list[str]:
    """Code spans and words of commands that look like a file's or a folder's path."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = [*_SPAN.findall(prose), *re.findall(r"(?<=pytest )\S+", text)]
    return [span for span in spans if _PATH.fullmatch(span)]


def list_missing(text: str) -> list[str]:
    places = (ROOT, ROOT / "anomalyvfm_opt", ROOT / "anomalyvfm_opt" / "evaluation" / "linter")
    made = ("build/",)
    return [p for p in list_paths(text) if not p.startswith(made) and not any((at / p).exists() for at in places)]


def test_every_path_in_the_architecture_exists() -> None:
    assert list_missing(ARCHITECTURE.read_text(encoding="utf-8")) == []


def test_every_path_in_contributing_exists() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    assert "tests/unit/spec" in text
    assert list_missing(text) == []


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = CONTRIBUTING.read_text(encoding="utf-8")
    calls = [
        *_SPAN.findall(text),
        *(line for block in list_blocks(CONTRIBUTING) for line in block.text.splitlines()),
    ]
    named = {word for call in calls if call.startswith("make ") for word in call.partition("#")[0].split()[1:]}
    assert {word for word in named if "=" not in word} - targets == set()
    assert {"check", "test", "bench", "docs"} <= named


def test_the_picture_has_every_layer_in_order() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (c for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    rooms = [name.strip().partition(".")[2] for layer in contract["layers"] for name in layer.split("|")]
    picture = next(block.text for block in list_blocks(ARCHITECTURE) if block.language == "mermaid")
    drawn = re.findall(r'(\w+)(?:\["|\[\(")\1\\n', picture)
    assert drawn == [room for room in rooms if (ROOT / "anomalyvfm_opt" / room).is_dir()]


def test_the_linters_page_has_every_check() -> None:
    page = (ROOT / "docs" / "linter.md").read_text(encoding="utf-8").partition("## The checks")[2]
    told = re.findall(r"^\| `(\w+)` \|", page.partition("\n## ")[0], re.MULTILINE)
    sources = (ROOT / "anomalyvfm_opt" / "evaluation" / "linter").glob("*.py")
    made = {name for source in sources for name in re.findall(r'Finding\(\s*"(\w+)"', source.read_text("utf-8"))}
    assert sorted(told) == sorted(made)
    assert "prefix_differs" in made


def test_the_index_has_every_decision_by_its_title() -> None:
    titles = [page.read_text(encoding="utf-8").splitlines()[0][2:] for page in sorted(DECISIONS.glob("0*.md"))]
    rows = re.findall(
        r"^\| \[(\d{4})\]\(\1-[^)]+\) \| (.+?) \| ", (DECISIONS / "README.md").read_text("utf-8"), re.M
    )
    assert [f"{number} {title}" for number, title in rows] == titles


def test_the_index_of_pages_has_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index]
    assert missing == ["README.md"]
