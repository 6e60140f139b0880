"""What `doctor` prints: whole words, however narrow the terminal."""

from unittest.mock import patch

import pytest
from rich.console import Console

from anomalyvfm_opt.cli.doctor import _print_findings
from anomalyvfm_opt.doctor.check import CheckResult, Status

URL = "postgresql+psycopg2://engineer@database.of.the.plant.example:5432/anomalyvfm_opt"
FIX = "anomalyvfm-opt db upgrade --db postgresql://database.of.the.plant.example/x"


def test_neither_a_url_nor_a_command_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    findings = {
        "database": CheckResult(Status.OK, f"answers at {URL} in a moment"),
        "tables": CheckResult(Status.FAIL, "they are those of another version, which this one cannot use", FIX),
    }
    with patch("anomalyvfm_opt.cli.doctor.open_console", lambda: Console(width=50)):
        _print_findings(findings)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok    database  answers at"
    assert lines[1:3] == [f"{' ' * 16}{URL}", f"{' ' * 16}in a moment"]
    assert lines[3:5] == [
        "fail  tables    they are those of another version,",
        f"{' ' * 16}which this one cannot use",
    ]
    assert lines[-1].endswith(FIX)
    assert all(line.startswith(" " * 16) for line in lines[5:])
