"""Ask `doctor`, and read what it answers."""

import json
import os
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from anomalyvfm_opt.cli.main import app

ALWAYS = ("packages", "state_folder", "disk", "database", "password", "server", "latency", "clock", "rights")
ALWAYS += (
    "schema",
    "optuna_schema",
    "roles",
    "origins",
    "connections",
    "torch",
    "device",
    "threads",
    "weights",
    "data",
)
OURS = [name for name in os.environ if name.startswith("ANOMALYVFM_OPT_")]


@dataclass(frozen=True)
class Answer:
    """What `doctor --json` said."""

    exit_code: int
    status: str
    checks: dict[str, dict[str, str]]

    def failed(self) -> list[str]:
        return [name for name, check in self.checks.items() if check["status"] == "fail"]

    def assert_fails(self, name: str, *words: str) -> None:
        """One check failed, with a fix; the exit code says so, and all the others are listed."""
        assert self.failed() == [name], self.checks
        assert (self.exit_code, self.status) == (3, "fail")
        assert self.checks[name]["fix"]
        for word in words:
            assert word in " ".join(self.checks[name].values())
        assert set(ALWAYS) <= self.checks.keys()


def ask(*arguments: str, **environment: str) -> Answer:
    """Run `doctor --json` in this process, which has imported torch already."""
    clean = dict.fromkeys((*OURS, "PGPASSFILE"))
    done = CliRunner().invoke(app, ["doctor", "--json", *arguments], env={**clean, **environment})
    return read_answer(done.exit_code, done.stdout)


def read_answer(exit_code: int, stdout: str) -> Answer:
    document: dict[str, Any] = json.loads(stdout)
    assert document.keys() == {"schema", "checks", "status"}
    assert document["schema"] == 1
    for check in document["checks"]:
        assert check.keys() == {"name", "status", "detail", "fix"}
        assert check["status"] in ("ok", "warn", "fail", "skip")
        assert check["detail"]
        assert bool(check["fix"]) == (check["status"] in ("warn", "fail"))
    return Answer(exit_code, document["status"], {check["name"]: check for check in document["checks"]})
