"""A study is named in the same ways everywhere: its name, its spec's name, the spec's file, and several."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from anomalyvfm_opt.data.demo import write_demo
from tests.integration.program import CATEGORY, Program, write_spec

NAME = "naming"


@pytest.fixture(scope="module")
def spec_file(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A spec with a study of one category in the store."""
    file = write_spec(tmp_path_factory.mktemp("naming"), NAME)
    assert program.create(file).returncode == 0
    yield file
    program.run_here("study", "delete", NAME, "--yes")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("study", "show"), ()),
        (("study", "list"), ()),
        (("study", "pause"), ()),
        (("study", "resume"), ()),
        (("study", "export"), ("-o", "{folder}/out.gz", "--force")),
        (("forecast", "add"), ("-0.01",)),
        (("forecast", "list"), ()),
        (("worker", "run"), ("--max-trials", "1", "--threads", "1")),
    ],
    ids=lambda words: "-".join(words),
)
@pytest.mark.parametrize("form", ["full", "spec", "file"])
def test_each_command_takes_each_form(
    program: Program, spec_file: Path, tmp_path: Path, before: tuple[str, ...], after: tuple[str, ...], form: str
) -> None:
    given = {"full": f"{NAME}/{CATEGORY}", "spec": NAME, "file": str(spec_file)}[form]
    if before[0] == "worker":
        after = (*after, "--data", str(program.data))
    done = program.run_here(*before, given, *(word.format(folder=tmp_path) for word in after))
    assert done.returncode == 0, done.stderr


def test_what_is_not_there_is_answered_with_what_is_like_it(program: Program, spec_file: Path) -> None:
    done = program.run_here("study", "show", "nmaing")
    assert done.returncode == 2
    assert f"did you mean {NAME}" in done.stderr
    done = program.run_here("study", "show", str(spec_file.with_name("nothing.yaml")))
    assert done.returncode == 2
    assert "no such spec file" in done.stderr


def test_several_are_taken_and_one_is_asked_for_where_one_is_needed(program: Program, tmp_path: Path) -> None:
    write_demo(tmp_path / "data")
    file = write_spec(tmp_path, "several")
    assert program.run_here("study", "create", str(file), "--data", str(tmp_path / "data")).returncode == 0
    names = [name for name in program.list_names() if name.startswith("several/")]
    shown = program.run_here("study", "show", *names[:2])
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in names[:2])
    done = program.run_here("forecast", "add", "several", "0.1")
    assert done.returncode == 2
    assert f"means {len(names)} studies" in done.stderr
    assert names[0] in done.stderr
    refused = program.run_here("study", "delete", str(file))
    assert refused.returncode == 2
    assert "nothing is deleted" in refused.stderr
    assert program.run_here("study", "delete", names[0], "--yes").returncode == 0
    assert program.run_here("study", "delete", str(file), "--yes").returncode == 0
    assert not [name for name in program.list_names() if name.startswith("several/")]
