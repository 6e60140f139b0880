"""A database or a disk that cannot be used: exit 3, one line that says what to do, and a store as it was."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import pytest

from anomalyvfm_opt.store.schema import HEAD
from tests.integration.external_server import DATABASE, USER
from tests.integration.place import Place
from tests.integration.program import Program, assert_one_error

_HOME = "ANOMALYVFM_OPT_HOME"
_URL = "ANOMALYVFM_OPT_DB_URL"


def test_a_wrong_password(program: Program, place: Place) -> None:
    wrong = place.folder / "wrong"
    wrong.write_text(f"*:*:*:{USER}:not-the-password\n")
    wrong.chmod(0o600)
    shown = _fail(program, place, {"PGPASSFILE": str(wrong)}, 3)
    assert f"wrong password for user {USER}" in shown
    assert "not-the-password" not in shown


def test_no_password_file(program: Program, place: Place) -> None:
    assert "PGPASSFILE" in _fail(program, place, {"PGPASSFILE": str(place.folder / "none")}, 3)


def test_a_password_in_the_url_is_refused_and_not_shown(program: Program, place: Place) -> None:
    url = place.server.url.replace(f"{USER}@", f"{USER}:hunter2@")
    shown = _fail(program, place, {_URL: url}, 2)
    assert "PGPASSFILE" in shown
    assert "hunter2" not in shown


def test_a_database_that_is_not_there(program: Program, place: Place) -> None:
    shown = _fail(program, place, {_URL: place.server.url_of(USER, "nowhere")}, 3)
    assert "no database 'nowhere'" in shown


def test_a_user_without_rights(program: Program, place: Place) -> None:
    place.server.add_user("guest")
    place.server.admin("CREATE DATABASE closed")
    try:
        shown = _fail(program, place, {_URL: place.server.url_of("guest", "closed")}, 3)
        assert "guest" in shown
        assert "GRANT" in shown
    finally:
        place.server.admin("DROP DATABASE closed WITH (FORCE)")
        place.server.admin("DROP ROLE guest")


def test_too_many_connections(program: Program, place: Place) -> None:
    place.server.admin(f"ALTER ROLE {USER} CONNECTION LIMIT 0")
    try:
        assert "too many connections" in _fail(program, place, {}, 3)
    finally:
        place.server.admin(f"ALTER ROLE {USER} CONNECTION LIMIT -1")


def test_an_older_store(program: Program, place: Place) -> None:
    place.server.admin("UPDATE anomalyvfm_opt.schema_version SET version_num = '0001'", DATABASE)
    try:
        assert "db upgrade" in _fail(program, place, {}, 3)
    finally:
        place.server.admin(f"UPDATE anomalyvfm_opt.schema_version SET version_num = '{HEAD}'", DATABASE)  # noqa: S608


def test_a_server_that_is_stopped(program: Program, place: Place) -> None:
    before = place.count_rows()
    place.server.stop()
    try:
        shown = assert_one_error(place.create(program), 3)
        assert "nothing answers" in shown
    finally:
        place.server.start()
    assert place.count_rows() == before


def test_a_disk_that_is_full(program: Program, place: Place) -> None:
    """The state folder lies on a file system of 200 kB: images do not fit."""
    with _mounted(place.folder / "small", "size=200k"):
        home = place.folder / "small/home"
        shown = _fail(program, place, {_HOME: str(home)}, 3, is_apart=True)
        assert str(home) in shown
        assert "No space left" in shown
        assert not list(home.rglob("*.npy")), "a broken array was kept"


def test_a_file_system_that_is_read_only(program: Program, place: Place) -> None:
    with _mounted(place.folder / "fixed", "ro"):
        shown = _fail(program, place, {_HOME: str(place.folder / "fixed/home")}, 3, is_apart=True)
        assert "Read-only file system" in shown
        assert _HOME in shown


def test_a_file_system_without_room_is_no_matter_where_nothing_is_kept(program: Program, place: Place) -> None:
    with _mounted(place.folder / "small", "size=200k"):
        environment = {_HOME: str(place.folder / "small/home"), "ANOMALYVFM_OPT_CACHE_GIB": "0"}
        done = place.create(program, environment, is_apart=True)
        assert done.returncode == 0, done.stderr
    deleted = program.run_here("study", "delete", "bad/brick", "--yes", **place.server.environment)
    assert deleted.returncode == 0, deleted.stderr


@pytest.mark.parametrize("what", ["state", "data"])
def test_the_folder_of_another_user(program: Program, place: Place, what: str) -> None:
    """A folder that the caller may not look into; root, who may look everywhere, becomes nobody."""
    closed = place.folder / "closed"
    closed.mkdir()
    if what == "data":
        shutil.move(place.data, closed / "data")
    data = closed / "data" if what == "data" else place.data
    home = closed / "home" if what == "state" else place.folder / "home"
    with _closed(closed, place.folder) as become:
        done = _run_as(become, place, home, data)
    shown = assert_one_error(done, 3)
    assert str(closed) in shown
    assert "Permission denied" in shown


def _fail(
    program: Program, place: Place, environment: dict[str, str], exit_code: int, is_apart: bool = False
) -> str:
    """Fail to create a study, with the store as it was before; returns what was shown."""
    before = place.count_rows()
    shown = assert_one_error(place.create(program, environment, is_apart), exit_code)
    assert place.count_rows() == before
    return shown


@contextmanager
def _mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory; a host that does not let us mount one cannot run the test."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("may not mount a file system here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def _closed(folder: Path, around: Path) -> Iterator[Callable[[list[str]], list[str]]]:
    """Close a folder to whoever runs what is yielded; open all folders above it that are pytest's own."""
    if os.geteuid() != 0:
        folder.chmod(0)
        try:
            yield lambda command: command
        finally:
            folder.chmod(0o700)
        return
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    probe = [*become, sys.executable, "-c", "import anomalyvfm_opt"]
    if shutil.which("setpriv") is None or subprocess.run(probe, capture_output=True).returncode != 0:
        pytest.skip("nobody cannot run the program here")
    folder.chmod(0o700)
    for path in takewhile(lambda path: path != Path(tempfile.gettempdir()), (around, *around.parents)):
        path.chmod(0o777)
    yield lambda command: [*become, *command]


def _run_as(
    become: Callable[[list[str]], list[str]], place: Place, home: Path, data: Path
) -> subprocess.CompletedProcess[str]:
    """Look for a place for the state, then at the data, as the user that is named."""
    command = [
        sys.executable,
        "-m",
        "anomalyvfm_opt",
        "study",
        "plan",
        str(_write_spec(place)),
        "--data",
        str(data),
    ]
    if str(home).startswith(str(place.folder / "closed")):
        command = [sys.executable, "-m", "anomalyvfm_opt", "db", "up"]
    measured = "COVERAGE_"  # another user could not write coverage's file beside ours, and would say so
    environment = {name: value for name, value in os.environ.items() if not name.startswith(measured)}
    environment[_HOME] = str(home)
    return subprocess.run(become(command), env=environment, capture_output=True, text=True, timeout=120)


def _write_spec(place: Place) -> Path:
    from tests.integration.program import write_spec

    return write_spec(place.folder, "other")
