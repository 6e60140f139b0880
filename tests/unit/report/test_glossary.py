"""The glossary: the same words as the pages have, and one for every finding that the linter can make."""

import re
from pathlib import Path

import pytest

import anomalyvfm_opt.evaluation.linter as linter
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.report.glossary import FINDINGS, WORDS, look_up

DOCS = Path(__file__).parents[3] / "docs"


def read_rows(page: str, heading: str) -> dict[str, str]:
    """The first two cells of each row of the table under a head."""
    table = (DOCS / page).read_text().split(heading, 1)[1].strip().split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0].strip("`"): row[1] for row in rows if not row[0].startswith("---")}


def test_the_page_has_the_same_words() -> None:
    assert read_rows("numbers.md", "| word | meaning |\n") == WORDS


def test_every_finding_of_the_page_and_of_the_code_is_there() -> None:
    assert (
        read_rows("linter.md", "| check | severity | measured | limit | what to do |\n").keys() == FINDINGS.keys()
    )
    sources = [path.read_text() for path in Path(linter.__path__[0]).glob("*.py")]
    made = {name for source in sources for name in re.findall(r"Finding\(\s*\"(\w+)\"", source)}
    assert made
    assert made <= FINDINGS.keys()


@pytest.mark.parametrize(
    ("asked", "found"),
    [("noise", "noise"), ("Noise ", "noise"), ("v1.2", "v1.1, v1.2"), ("flat_loss", "flat_loss")],
)
def test_a_word_is_found_in_any_spelling(asked: str, found: str) -> None:
    assert list(look_up([asked])) == [found]


def test_without_a_word_all_are_shown() -> None:
    assert look_up([]) == {**WORDS, **FINDINGS}


@pytest.mark.parametrize(
    ("asked", "hint"), [("nois", "did you mean 'noise'?"), ("zzz", "all of them: anomalyvfm-opt glossary")]
)
def test_a_word_that_is_not_there_is_answered_with_one_like_it(asked: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        look_up(["noise", asked, "yyy"])
    assert (caught.value.message, caught.value.hint) == (f"not in the glossary: {asked!r}, 'yyy'", hint)
