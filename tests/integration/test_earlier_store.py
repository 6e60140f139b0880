"""A store that an earlier version of this program made: it opens, says the same, goes on, exports and imports."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from anomalyvfm_opt.data.demo import write_demo
from anomalyvfm_opt.store.schema import upgrade_database
from tests.conftest import fresh_database
from tests.integration.program import Program

_FOLDER = Path(__file__).parents[1] / "fixtures" / "earlier_store"
_NOT_UNSEEN = "NOT UNSEEN"  # a doubt that comes from another study, which an export leaves behind


@pytest.fixture(scope="module")
def earlier(postgres_url: str) -> Iterator[str]:
    """The URL of a database that the dump was loaded into; a test that changes it comes last."""
    with fresh_database(postgres_url) as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            dump = gzip.decompress((_FOLDER / "store.sql.gz").read_bytes()).decode()
            connection.execution_options(no_parameters=True).exec_driver_sql(dump)
        engine.dispose()  # with the search path that the dump has set
        upgrade_database(engine)
        engine.dispose()
        yield url


def ask(program: Program, url: str, *arguments: str) -> Any:
    done = program.run_here(*arguments, "--db", url, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def expect(name: str) -> Any:
    return json.loads((_FOLDER / f"{name}.json").read_text())


def without_rounding(answer: Any) -> Any:
    """The answer with each number to 12 digits: the last ones of a sum depend on the processor's vector width."""
    if isinstance(answer, float):
        return float(f"{answer:.12g}")
    if isinstance(answer, dict):
        return {key: without_rounding(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [without_rounding(value) for value in answer]
    return answer


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("study", "list"), "list"),
        (("study", "show", "kept/brick"), "show_kept_brick"),
        (("study", "show", "kept/brick#replicates"), "show_kept_brick_replicates"),
        (("study", "show", "kept/brick#confirm"), "show_kept_brick_confirm"),
        (("study", "show", "open/fabric"), "show_open_fabric"),
        (("study", "show", "open/fabric#replicates"), "show_open_fabric_replicates"),
        (("study", "show", "waiting/brick"), "show_waiting_brick"),
        (("verdict", "kept/brick"), "verdict"),
        (("verdict", "kept/brick", "--round", "1"), "verdict_round1"),
        (("predictions",), "predictions"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_it_says_the_same(program: Program, earlier: str, arguments: tuple[str, ...], name: str) -> None:
    said = ask(program, earlier, *arguments)
    assert without_rounding(said) == without_rounding(expect(name))


def test_the_best_trial_is_shown_beside_the_one_that_was_confirmed(program: Program, earlier: str) -> None:
    done = program.run_here("study", "best", "kept/brick", "--db", earlier)
    assert done.stdout.startswith("kept/brick trial 4")
    assert done.stderr == (
        "its confirmation judges trial 5, the race's winner: anomalyvfm-opt verdict kept/brick\n"
    )
    assert program.run_here("study", "best", "open/fabric", "--db", earlier).stderr == ""


def test_an_export_of_then_imports_and_judges_the_same(
    program: Program, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "kept.jsonl"
    file.write_bytes(gzip.decompress((_FOLDER / "export_kept_brick.jsonl.gz").read_bytes()))
    imported = program.run_here("study", "import", str(file), "--db", database_url)
    assert imported.returncode == 0, imported.stderr
    said, expected = ask(program, database_url, "verdict", "kept/brick"), expect("verdict")
    assert any(_NOT_UNSEEN in doubt for doubt in expected["doubts"])
    expected["doubts"] = [doubt for doubt in expected["doubts"] if _NOT_UNSEEN not in doubt]
    assert without_rounding(said) == without_rounding(expected)


def test_an_export_of_now_holds_what_that_of_then_did(program: Program, earlier: str, tmp_path: Path) -> None:
    file = tmp_path / "kept.jsonl"
    exported = program.run_here("study", "export", "kept/brick", "-o", str(file), "--db", earlier)
    assert exported.returncode == 0, exported.stderr
    then = gzip.decompress((_FOLDER / "export_kept_brick.jsonl.gz").read_bytes()).splitlines()
    now = file.read_bytes().splitlines()
    assert now[1:-1] == then[1:-1]  # the first line has the time of the export, and the last the hash of all


@pytest.mark.slow
def test_a_study_of_then_goes_on(program: Program, earlier: str, tmp_path: Path) -> None:
    write_demo(tmp_path)  # the same bytes each time
    waiting = ("waiting/brick", "--db", earlier)
    before = ask(program, earlier, "study", "show", "waiting/brick")
    assert (before["budget"], before["trials"]["waiting"]) == ({"trials": 6, "used": 1}, 2)
    served = program.run_here("worker", "run", "--threads", "1", "--data", str(tmp_path), "--study", *waiting)
    assert served.returncode == 0, served.stderr
    after = ask(program, earlier, "study", "show", "waiting/brick")
    assert (after["state"], after["budget"]) == ("finished", {"trials": 6, "used": 6})
    assert (after["trials"]["complete"], after["trials"]["waiting"], after["trials"]["failed"]) == (6, 0, 0)
    assert after["references"]["frozen"] == before["references"]["frozen"]
