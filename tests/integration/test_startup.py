"""What commands that only read import: the seconds of a start are those of its imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.program import FinishedStudy, Program

HEAVY = ("torch", "torchvision", "timm", "peft", "optuna", "alembic", "sklearn", "plotly", "scipy.stats")
STUDIES = Path(__file__).parents[2] / "studies"
RUN = """
import sys
from contextlib import suppress
from anomalyvfm_opt.cli.main import run
with suppress(SystemExit):
    run()
print("imported:", *sys.modules, file=sys.stderr)
"""
ANSWERS = [  # with {study}, {data} and {studies} in them
    ("study", "list"),
    ("study", "list", "--json"),
    ("study", "show", "{study}"),
    ("study", "show", "{study}", "--json"),
    ("verdict", "{study}"),
    ("forecast", "list"),
    ("worker", "list"),
    ("glossary",),
    ("db", "url"),
    ("db", "status"),
    ("spec", "check", "{studies}/demo.yaml", "{studies}/mvtec_ad2.yaml"),
    ("spec", "schema", "-"),
    ("spec", "diff", "{studies}/demo.yaml", "{studies}/mvtec_ad2.yaml"),
    ("data", "check", "{data}"),
    ("data", "split", "{data}", "brick"),
]
WITHOUT_STATISTICS = ("worker", "glossary", "db", "spec", "data")


def list_imports(home: Path, *arguments: str) -> set[str]:
    """The modules that a command has imported by its end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANOMALYVFM_OPT_")}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        env={**kept, "ANOMALYVFM_OPT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("imported: ")]
    return set(line.split()[1:])


@pytest.mark.parametrize("command", ANSWERS, ids=" ".join)
def test_a_command_that_only_reads_imports_no_training_and_no_sampler(
    program: Program, finished_study: FinishedStudy, command: tuple[str, ...]
) -> None:
    places = {"study": finished_study.name, "data": program.data, "studies": STUDIES}
    found = list_imports(program.cluster.home, *(part.format(**places) for part in command))
    heavy = (*HEAVY, "scipy") if command[0] in WITHOUT_STATISTICS or command[1:2] == ("list",) else HEAVY
    assert found.intersection(heavy) == set()


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--version",)])
def test_help_imports_neither_the_database_nor_the_spec(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    found = list_imports(tmp_path, *arguments)
    assert found.intersection((*HEAVY, "scipy", "numpy", "sqlalchemy", "pydantic", "ruamel.yaml")) == set()
