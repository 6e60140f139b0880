"""Every command with a full, closed or abandoned stdout or stderr: its own exit code, and never a bug."""

import fcntl
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pytest
import typer

from anomalyvfm_opt.cli.main import app
from tests.integration.program import CATEGORY, Finished, Program, run_in_process, write_spec

SPEC = "studies/demo.yaml"
# The arguments of commands that run in a moment; what they name is there, or is not and that is the answer. The
# others show their help.
REAL: dict[str, tuple[str, ...]] = {
    "doctor": ("--json",),
    "glossary": (),
    "predict": ("{fresh}", "{fresh}.png"),
    "submit": ("--data", "{fresh}", "--out", "{fresh}"),
    "confirm": ("streams",),
    "verdict": ("streams",),
    "predict-gain": ("nobody", "0.1"),
    "predictions": (),
    "db up": (),
    "db status": (),
    "db url": (),
    "db upgrade": (),
    "data demo": ("{kept}",),
    "data check": ("{data}",),
    "data split": ("{data}", CATEGORY),
    "spec check": (SPEC,),
    "spec schema": ("-",),
    "spec diff": (SPEC, "studies/offline_quick.yaml"),
    "study plan": ("{fresh}", "--data", "{data}"),
    "study pause": ("nobody",),
    "study resume": ("streams",),
    "study stop": ("nobody",),
    "study export": ("streams", "-o", "-"),
    "study import": ("{fresh}",),
    "study create": ("{spec}", "--data", "{data}", "--category", CATEGORY),
    "study list": ("--json",),
    "study show": ("streams",),
    "study delete": ("nobody", "--yes"),
    "worker list": (),
    "worker drain": ("nobody",),
    "worker reap": (),
    "worker run": ("--study", "nobody"),
    "worker launch": ("--study", "nobody", "--count", "1"),
    "model export": ("nobody", "{fresh}"),
    "model check": ("{fresh}",),
    "submission check": ("{fresh}",),
}


def list_commands() -> list[str]:
    """The names of all commands that the program has, such as `study list`."""

    def walk(command: Any, name: str) -> Iterator[str]:
        below = getattr(command, "commands", None)
        if below is None:
            yield name
        for verb, one in (below or {}).items():
            yield from walk(one, f"{name} {verb}".strip())

    return list(walk(typer.main.get_command(app), ""))


@contextmanager
def full() -> Iterator[TextIO | None]:
    with Path("/dev/full").open("w") as stream:
        yield stream


@contextmanager
def closed() -> Iterator[TextIO | None]:
    yield None


@contextmanager
def abandoned() -> Iterator[TextIO | None]:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        yield stream


SITUATIONS: dict[str, Callable[[], AbstractContextManager[TextIO | None]]] = {
    "full": full,
    "closed": closed,
    "abandoned": abandoned,
}


@pytest.fixture(scope="module", autouse=True)
def study(program: Program) -> str:
    return program.create_here("streams")


@dataclass
class Runs:
    """Runs one command again and again, with other streams each time and in a folder of its own."""

    program: Program
    folder: Path
    words: Sequence[str]

    def run(self, **streams: TextIO | None) -> Finished:
        """Run it with stdout in a file, but for the streams that are given."""
        fresh = self.folder / secrets.token_hex(4)
        spec = write_spec(self.folder, f"made-{secrets.token_hex(4)}")
        places = {"data": self.program.data, "fresh": fresh, "kept": self.folder / "kept", "spec": spec}
        words = [word.format(**places) for word in self.words]
        with (self.folder / "stdout").open("w+") as stdout:
            done = run_in_process(words, self.program.surround({}), {"stdout": stdout, **streams})
            stdout.seek(0)
            return Finished(done.args, done.returncode, stdout.read(), done.stderr)


def expect_code(situation: str, usual: Finished) -> int:
    """The code of a command whose stdout is broken: its own where it writes nothing there, or nobody minds."""
    if not usual.stdout or situation == "closed":
        return usual.returncode
    return {"full": 3, "abandoned": 0}[situation]


@pytest.mark.parametrize("command", list_commands())
def test_every_command_ends_by_its_own_code_whatever_its_streams_are(
    program: Program, tmp_path: Path, command: str
) -> None:
    runs = Runs(program, tmp_path, [*command.split(), *REAL.get(command, ("--help",))])
    usual = runs.run()
    assert "bug:" not in usual.stderr
    for situation, make in SITUATIONS.items():
        with make() as stream:
            done = runs.run(stdout=stream)
        assert done.returncode == expect_code(situation, usual), (situation, done.stderr)
        assert "bug:" not in done.stderr
        is_named = "error: cannot write to stdout: No space left on device" in done.stderr
        assert is_named == (situation == "full" and usual.stdout != "")
        with make() as stream:
            assert runs.run(stderr=stream).returncode == usual.returncode, situation


def test_the_table_names_no_command_that_is_gone() -> None:
    assert set(REAL) <= set(list_commands())


def run_by_shell(program: Program, redirections: str, *arguments: str) -> Finished:
    """Run a command in a process whose streams a shell has redirected."""
    words = ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-m", "anomalyvfm_opt", *arguments]
    environment = program.surround({})
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.parametrize(
    ("redirections", "arguments", "exit_code"),
    [
        ("<&- >&- 2>&-", ("study", "list", "--json"), 0),
        ("<&- >&- 2>&-", ("study", "show", "nobody"), 2),
        ("2>&-", ("nonsense",), 2),
        (">/dev/full", ("--version",), 3),
        (">/dev/full 2>&1", ("study", "list", "--json"), 3),
        ("| true", ("study", "list", "--json"), 0),
    ],
)
def test_a_process_ends_by_its_own_code(
    program: Program, redirections: str, arguments: tuple[str, ...], exit_code: int
) -> None:
    done = run_by_shell(program, redirections, *arguments)
    assert done.returncode == exit_code, done.stderr
    assert "bug:" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("command", "redirections"),
    [
        (("run",), "<&- >&- 2>&-"),
        pytest.param(("run",), ">/dev/full 2>/dev/full", marks=pytest.mark.slow),
        pytest.param(("launch", "--count", "1"), "<&- >&- 2>&-", marks=pytest.mark.slow),
    ],
)
def test_workers_run_their_trials_although_nobody_hears_them(
    program: Program, command: tuple[str, ...], redirections: str
) -> None:
    name = program.create_here(f"unheard-{secrets.token_hex(4)}", references=["frozen"], search={"trials": 2})
    assert run_by_shell(program, redirections, "worker", *command, "--study", name).returncode == 0
    assert program.usage(name).complete == 2


def test_a_pipe_that_does_not_block_gets_all_of_it(program: Program) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    words = [sys.executable, "-m", "anomalyvfm_opt", "spec", "schema", "-"]
    with subprocess.Popen(words, env=program.surround({}), stdout=writer) as process:
        os.close(writer)
        with os.fdopen(reader) as stream:
            schema = json.load(stream)
    assert process.returncode == 0
    assert schema["title"] == "anomalyvfm-opt spec"


def test_colours_that_are_forced_into_a_pipe_break_no_line(program: Program) -> None:
    plain, coloured = (
        program.run_here("doctor").stdout,
        program.run_here("doctor", FORCE_COLOR="1", COLUMNS="").stdout,
    )
    assert "\x1b[" in coloured
    assert len(coloured.splitlines()) == len(plain.splitlines())
    assert max(map(len, plain.splitlines())) > 80
