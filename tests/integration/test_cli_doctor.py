"""`doctor` on a sound installation and on broken ones: the check that fails, its fix, and nothing changed."""

import json
import os
import pwd
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from anomalyvfm_opt.cli.main import app
from anomalyvfm_opt.doctor.check import run_checks
from anomalyvfm_opt.doctor.checklist import list_host_checks, list_store_checks
from anomalyvfm_opt.doctor.database import Database
from tests.integration.doctor_answer import ALWAYS, OURS, ask
from tests.integration.program import CATEGORY, Program, write_spec

MEMORY = Path("/dev/shm")  # noqa: S108 - nothing is made there
OF_THE_HOST = ("disk", "threads")  # a small disk or few cores are no fault of the program


@pytest.fixture
def sound(program: Program, tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment with which nothing is wrong."""
    spec = write_spec(tmp_path, "sound")
    arguments = ["--data", str(program.data), "--spec", str(spec), "--device", "cpu"]
    return arguments, {"ANOMALYVFM_OPT_HOME": str(program.cluster.home)}


def test_a_sound_installation(program: Program, sound: tuple[list[str], dict[str, str]]) -> None:
    assert program.store  # whoever comes first makes the tables
    arguments, environment = sound
    answer = ask(*arguments, **environment)
    bad = {n: c for n, c in answer.checks.items() if c["status"] not in ("ok", "skip") and n not in OF_THE_HOST}
    assert bad == {}
    assert answer.exit_code == 0
    assert [name for name, check in answer.checks.items() if check["status"] == "skip"] == ["password"]
    assert answer.checks.keys() == {*ALWAYS, "embedded", "spec"}
    assert f"{CATEGORY} 128" in answer.checks["data"]["detail"]


def test_the_needs_of_a_study_are_looked_up_in_the_store(program: Program) -> None:
    name = program.create_here("looked_up")
    environment = {"ANOMALYVFM_OPT_HOME": str(program.cluster.home)}
    answer = ask("--study", name, "--device", "cpu", **environment)
    assert answer.failed() == []
    assert answer.checks["study"]["detail"] == name
    assert f"{program.data}: 128 images in 1 category" in answer.checks["data"]["detail"]
    assert "tf_efficientnet_lite0: offline weights" in answer.checks["weights"]["detail"]
    unknown = ask("--study", "nothing", "--device", "cpu", **environment)
    unknown.assert_fails("study", "no study 'nothing'", "studies here: ")
    assert unknown.checks["weights"]["status"] == unknown.checks["data"]["status"] == "skip"


@dataclass(frozen=True)
class Breakage:
    """What is wrong; `{data}` and `{folder}` stand for paths."""

    check: str
    words: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    weights: str = "offline"
    backbone: str = "tf_efficientnet_lite0"


BREAKAGES = {
    "unreachable database": Breakage(
        "database", ("nothing answers at 127.0.0.1, port 1",), ("--db", "postgresql://u@127.0.0.1:1/x")
    ),
    "unknown host": Breakage(
        "database",
        ("no-such-host.invalid",),
        (),
        {"ANOMALYVFM_OPT_DB_URL": "postgresql://u@no-such-host.invalid/x"},
    ),
    "sqlite": Breakage("database", ("--db", "not a PostgreSQL URL"), ("--db", "sqlite:///x.db")),
    "no data folder": Breakage("data", ("{folder}/nowhere",), ("--data", "{folder}/nowhere")),
    "a category as data folder": Breakage("data", ("is itself a category",), ("--data", "{data}/brick")),
    "state folder is a file": Breakage("state_folder", ("file is not a folder",), (), {"HOME": "{folder}/file"}),
    "state folder below a file": Breakage(
        "state_folder", ("cannot be made: ", "file is not a folder"), (), {"HOME": "{folder}/file/home"}
    ),
    "cluster of an older PostgreSQL": Breakage(
        "embedded", ("made by PostgreSQL 9",), (), {"HOME": "{folder}/old"}
    ),
    "no weights file": Breakage("weights", ("no such file: /no/weights",), weights="/no/weights.safetensors"),
    "no weights file on the command line": Breakage(
        "weights", ("no such file: {folder}/none",), ("--weights", "{folder}/none")
    ),
    "weights that are no safetensors": Breakage("weights", ("{folder}/file",), weights="{folder}/file"),
    "a folder as weights beside the spec": Breakage("weights", ("{folder}/old",), weights="old"),
    "offline weights of another model": Breakage("weights", ("no weights for 'resnet18'",), backbone="resnet18"),
    "unknown model": Breakage("weights", ("no model 'resnet-18'",), backbone="resnet-18"),
    "no such spec": Breakage("spec", ("no such spec file",), ("--spec", "{folder}/none.yaml")),
    "bad device": Breakage("device", ("--device 'gpu'",), ("--device", "gpu")),
}
if not torch.cuda.is_available():
    BREAKAGES["no GPU"] = Breakage("device", ("sees 0 GPUs", "--device cpu"), ("--device", "cuda"))


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_breakage_is_named_with_its_fix(program: Program, tmp_path: Path, name: str) -> None:
    breakage = BREAKAGES[name]
    (tmp_path / "file").touch()
    (tmp_path / "old/postgres/data").mkdir(parents=True)
    (tmp_path / "old/postgres/data/PG_VERSION").write_text("9\n")
    places = {"data": str(program.data), "folder": str(tmp_path)}
    section = {"name": breakage.backbone, "weights": breakage.weights.format(**places)}
    spec = write_spec(tmp_path, "broken", backbone=section)
    arguments = ["--device", "cpu", "--data", str(program.data), "--spec", str(spec)]
    arguments += [word.format(**places) for word in breakage.arguments]
    home = breakage.environment.get("HOME", str(program.cluster.home)).format(**places)
    url = {key: value for key, value in breakage.environment.items() if key != "HOME"}
    answer = ask(*arguments, **{"ANOMALYVFM_OPT_HOME": home, **url})
    answer.assert_fails(breakage.check, *(word.format(**places) for word in breakage.words))


def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    answer = ask("--device", "cpu", ANOMALYVFM_OPT_HOME=str(home))
    assert answer.exit_code == 0
    assert answer.failed() == []
    assert "not there yet; the first command makes it" in answer.checks["state_folder"]["detail"]
    assert "starts by itself when needed" in answer.checks["embedded"]["detail"]
    assert answer.checks["database"]["status"] == answer.checks["rights"]["status"] == "skip"
    assert list(tmp_path.iterdir()) == []


def test_a_state_folder_that_others_may_write_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    answer = ask("--device", "cpu", ANOMALYVFM_OPT_HOME=str(tmp_path))
    assert answer.checks["state_folder"]["fix"] == f"chmod go-w {tmp_path}"
    assert (answer.exit_code, answer.status) == (0, "warn")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not MEMORY.is_dir(), reason="needs a folder in memory")
def test_a_state_folder_in_memory_is_a_warning() -> None:
    home = MEMORY / "anomalyvfm-opt-none"
    answer = ask("--device", "cpu", ANOMALYVFM_OPT_HOME=str(home))
    assert "tmpfs: it lies in memory" in answer.checks["disk"]["detail"]
    assert not home.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become another user")
@pytest.mark.parametrize(("mode", "word"), [(0o700, "may not write there"), (0o711, "may not write there")])
def test_a_state_folder_of_another_user(open_folder: Path, mode: int, word: str) -> None:
    home = open_folder / "home"
    home.mkdir()
    home.chmod(mode)
    reader, writer = os.pipe()
    child = os.fork()  # not started anew: this interpreter may lie where another user cannot read it
    if child == 0:
        try:
            _answer_as_nobody(home, writer)
        finally:
            os._exit(0)  # also after an error: the tests that follow are the parent's
    os.close(writer)
    with os.fdopen(reader) as pipe:
        findings = json.load(pipe)
    os.waitpid(child, 0)
    assert findings["state_folder"][0] == "fail"
    assert word in findings["state_folder"][1]
    assert "ANOMALYVFM_OPT_HOME" in findings["state_folder"][2]
    assert findings["embedded"][:2] == ["skip", "not looked at: state_folder failed"]
    assert findings["disk"][0] in ("ok", "warn")


def _answer_as_nobody(home: Path, writer: int) -> None:
    nobody = pwd.getpwnam("nobody")
    checks = [*list_host_checks(0.0, worker=False), *list_store_checks(Database(None), 1)]
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    os.environ["ANOMALYVFM_OPT_HOME"] = str(home)
    os.environ.pop("ANOMALYVFM_OPT_DB_URL", None)
    findings = run_checks(checks)
    with os.fdopen(writer, "w") as pipe:
        json.dump({name: (found.status, found.detail, found.fix) for name, found in findings.items()}, pipe)


@pytest.mark.parametrize(("colour", "widest"), [(True, 100), (False, 200)])
def test_the_table_fits_and_names_every_fix(program: Program, tmp_path: Path, colour: bool, widest: int) -> None:
    environment = {"ANOMALYVFM_OPT_HOME": str(program.cluster.home), "COLUMNS": "100"}
    environment |= {"FORCE_COLOR": "1", "TERM": "xterm"} if colour else {}
    arguments = ["doctor", "--device", "cpu", "--data", str(tmp_path / "nowhere")]
    done = CliRunner().invoke(app, arguments, env={**dict.fromkeys((*OURS, "FORCE_COLOR")), **environment})
    assert done.exit_code == 3
    assert ("\x1b[1;31mfail" in done.stdout) == colour
    lines = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).splitlines()
    longest_words = [max(map(len, line.split()), default=0) for line in lines if len(line.rstrip()) > widest]
    assert all(length > widest - 30 for length in longest_words)  # a path or a URL that is kept whole
    assert "fix: expected <category>/train/good" in done.stdout
    assert "1 fail" in done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_named_with_its_memory(program: Program) -> None:
    answer = ask("--device", "cuda", ANOMALYVFM_OPT_HOME=str(program.cluster.home))
    assert answer.failed() == []
    assert torch.cuda.get_device_name(0) in answer.checks["device"]["detail"]
    assert "GiB free" in answer.checks["device"]["detail"]


def test_it_is_a_command_of_its_own_process(program: Program) -> None:
    done = program.run("doctor", "--device", "cpu")
    assert done.returncode == 0, done.stdout
    for name in ALWAYS:
        assert f" {name} " in done.stdout
    assert "Traceback" not in done.stderr
