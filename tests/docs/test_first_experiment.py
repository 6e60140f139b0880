"""The page of the first experiment quotes what its benchmark prints."""

import sys

import pytest

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "first_experiment.md"


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(sys, "argv", ["first_experiment.py"])
    import first_experiment

    first_experiment.main()
    return [line for line in capsys.readouterr().out.splitlines() if line]


def test_the_page_quotes_every_table_and_sentence_that_is_printed(printed: list[str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert sum(line.startswith("|") for line in printed) > 30
    assert [line for line in printed if line not in page] == []
