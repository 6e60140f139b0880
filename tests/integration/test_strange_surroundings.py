"""A user without a name or a home, and a current folder that is gone: words, and never a bug."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.files import place_in_home
from anomalyvfm_opt.store.embedded.binaries import Installation
from anomalyvfm_opt.store.embedded.cluster import Cluster
from anomalyvfm_opt.store.embedded.server_user import ServerUser
from anomalyvfm_opt.store.passfile import explain_no_password
from tests.integration.program import CATEGORY, Finished, Program, assert_one_error, run_in_process, write_spec

NOBODY = 23456


@pytest.fixture
def nameless(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of whom passwd knows nothing, without HOME, as a container may have; the rest is made by another."""

    def find(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    del program, tmp_path  # they are made before this user is
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    monkeypatch.setattr(os, "getuid", lambda: NOBODY)
    monkeypatch.setattr(pwd, "getpwuid", find)
    monkeypatch.delenv("HOME", raising=False)


@pytest.mark.usefixtures("nameless")
@pytest.mark.parametrize(
    "arguments", [("study", "list"), ("db", "status"), ("worker", "list"), ("predictions",)], ids=" ".join
)
def test_a_user_without_a_home_hears_what_to_set(arguments: tuple[str, ...]) -> None:
    shown = assert_one_error(run_in_process(arguments, {"PATH": os.defpath}), 3)
    assert f"user {NOBODY} has no home folder here" in shown
    assert "set ANOMALYVFM_OPT_HOME" in shown


@pytest.mark.usefixtures("nameless")
def test_a_user_without_a_home_can_use_another_database(program: Program, tmp_path: Path) -> None:
    environment = {"ANOMALYVFM_OPT_HOME": str(tmp_path), "ANOMALYVFM_OPT_DB_URL": program.cluster.url()}
    done = run_in_process(("study", "list"), environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("nameless")
def test_a_file_in_a_home_that_is_not_there_is_not_looked_for_elsewhere() -> None:
    assert place_in_home(".pgpass") == Path("~/.pgpass")
    assert explain_no_password(None)[0] == ""


@pytest.mark.usefixtures("nameless")
def test_a_database_is_not_made_for_a_user_without_a_name(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "postgres")
    user = ServerUser(NOBODY, NOBODY, str(NOBODY), is_other=False)
    with pytest.raises(EnvironmentMissingError, match=f"user {NOBODY} has no entry in passwd") as refused:
        cluster.create(Installation(tmp_path, 18), user)
    assert "ANOMALYVFM_OPT_DB_URL" in refused.value.hint


@pytest.mark.parametrize(
    "arguments",
    [
        ("study", "create", "{spec}", "--data", "~nobody-of-that-name/images"),
        ("study", "plan", "{spec}", "--data", "~nobody-of-that-name/images"),
        ("worker", "launch", "--count", "1", "--data", "~nobody-of-that-name/images"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_the_home_of_a_user_who_is_not_there_is_refused_by_name(
    program: Program, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    spec = write_spec(tmp_path, "nowhere")
    done = program.run_here(*(word.format(spec=spec) for word in arguments))
    assert "this host knows no home folder ~nobody-of-that-name" in assert_one_error(done, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("study", "list"),
        ("data", "check", "."),
        ("worker", "run", "--study", "nobody"),
        ("study", "plan", "studies/demo.yaml", "--data", CATEGORY),
        ("predict", "folder", "image.png"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_current_folder_that_was_deleted_is_said(
    program: Program, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    def run_where_nothing_is() -> Finished:
        words = [sys.executable, "-m", "anomalyvfm_opt", *arguments]
        script = ["sh", "-c", 'cd "$1" && rmdir "$1" && shift && exec "$@"', "sh", str(tmp_path / "gone"), *words]
        surroundings = {"PYTHONPATH": str(Path.cwd())}
        return subprocess.run(
            script, env=program.surround(surroundings), capture_output=True, text=True, timeout=180, check=False
        )

    (tmp_path / "gone").mkdir()
    assert "the current folder was deleted" in assert_one_error(run_where_nothing_is(), 2)


@pytest.mark.parametrize("arguments", [("predict", "nowhere", "x.png"), ("study", "list")], ids=" ".join)
def test_a_process_that_may_take_little_memory_hears_so(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    limit = 'ulimit -v 80000; exec "$@"'
    command = ["bash", "-c", limit, "limited", sys.executable, "-m", "anomalyvfm_opt", *arguments]
    environment = {
        **os.environ,
        "ANOMALYVFM_OPT_HOME": str(tmp_path),
        "ANOMALYVFM_OPT_DB_URL": "postgresql://a@h/x",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 3, done.stderr
    assert "this process may not take the memory that it needs: a library cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr
