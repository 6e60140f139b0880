"""The embedded PostgreSQL with real servers and real processes."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import psycopg2
import pytest
from sqlalchemy import text

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store import binaries, embedded
from anomalyvfm_opt.store.binaries import Installation, find_installation, make_runnable
from anomalyvfm_opt.store.cluster import Cluster
from anomalyvfm_opt.store.embedded import ClusterStatus, EmbeddedCluster
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.server_user import ServerUser, choose_server_user

UP = "import sys; from pathlib import Path; from anomalyvfm_opt.store.embedded import EmbeddedCluster as E; "
UP += "c = E(Path(sys.argv[1])); print(c.up().pid)"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become another user")
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may pass through, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="anomalyvfm-opt-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cluster(open_folder: Path) -> Iterator[EmbeddedCluster]:
    cluster = EmbeddedCluster(open_folder / "home")
    yield cluster
    cluster.down()


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedCluster]:
    """One for the tests that leave it running, to make it once."""
    folder = Path(tempfile.mkdtemp(prefix="anomalyvfm-opt-test-"))
    folder.chmod(0o711)
    cluster = EmbeddedCluster(folder / "home")
    cluster.up()
    yield cluster
    cluster.down()
    shutil.rmtree(folder)


def write_note(cluster: EmbeddedCluster, note: str) -> None:
    engine = make_engine(cluster.url())
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS notes (note text)"))
        connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": note})
    engine.dispose()


def read_notes(cluster: EmbeddedCluster) -> list[str]:
    engine = make_engine(cluster.url())
    with engine.connect() as connection:
        notes = list(connection.execute(text("SELECT note FROM notes")).scalars())
    engine.dispose()
    return notes


def kill_server(cluster: EmbeddedCluster) -> int:
    pid = cluster.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not cluster.status().running)
    return pid


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_life_of_a_cluster(cluster: EmbeddedCluster) -> None:
    data = cluster.home / "postgres" / "data"
    assert cluster.status() == ClusterStatus(False, None, None, data, "")
    assert not cluster.down()
    with pytest.raises(EnvironmentMissingError, match="db up"):
        cluster.url()
    first = cluster.up()
    assert first.running
    assert int(first.version) >= 18
    write_note(cluster, "kept")
    assert cluster.up() == first == cluster.status()
    assert cluster.down()
    assert cluster.status() == ClusterStatus(False, None, None, data, first.version)
    assert cluster.up().port == first.port  # so that a URL noted down still holds
    assert read_notes(cluster) == ["kept"]


def test_nobody_else_gets_in(running: EmbeddedCluster) -> None:
    status = running.up()
    assert running.passfile.stat().st_mode & 0o777 == 0o600
    assert running.passfile.stat().st_uid == os.geteuid()
    for folder in (status.data_dir, status.data_dir.parent):
        assert folder.stat().st_mode & 0o777 == 0o700
    password = running.passfile.read_text().strip().rpartition(":")[2]
    assert len(password) >= 32
    assert password not in running.url()
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(host="127.0.0.1", port=status.port, user="anomalyvfm_opt", passfile="/dev/null")
    engine = make_engine(running.url())
    with engine.connect() as connection:
        settings = dict(connection.execute(text("SELECT name, setting FROM pg_settings")).all())
    engine.dispose()
    assert settings["listen_addresses"] == "127.0.0.1"
    assert settings["unix_socket_directories"] == ""
    assert settings["max_connections"] == "300"
    assert settings["fsync"] == "on"
    assert settings["server_encoding"] == "UTF8"


def test_optuna_works_on_the_url(running: EmbeddedCluster) -> None:
    running.up()
    study = optuna.create_study(storage=optuna.storages.RDBStorage(running.url()))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert len(study.trials) == 2


def test_a_lost_passfile_is_written_again(running: EmbeddedCluster) -> None:
    status = running.up()
    running.passfile.unlink()
    assert running.up() == status
    write_note(running, "still in")


def test_many_starters_one_server(cluster: EmbeddedCluster) -> None:
    starters = [
        subprocess.Popen([sys.executable, "-c", UP, cluster.home], stdout=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    pids = {starter.communicate(timeout=60)[0] for starter in starters}
    assert [starter.returncode for starter in starters] == [0] * 5
    assert pids == {f"{cluster.status().pid}\n"}


def test_server_outlives_its_starter_and_its_terminal(cluster: EmbeddedCluster) -> None:
    shell = subprocess.run(
        ["/bin/sh", "-c", 'pid=$("$0" -c "$1" "$2") && echo "got $pid"', sys.executable, UP, cluster.home],
        capture_output=True,  # as $(...) does: both wait until nobody holds the pipe
        text=True,
        timeout=60,
        check=True,
        start_new_session=True,
    )
    pid = cluster.status().pid
    assert pid is not None
    assert shell.stdout == f"got {pid}\n"
    assert os.getsid(pid) == pid  # a Ctrl-C or a hang-up of any terminal does not reach it


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_starter_that_is_interrupted_does_no_harm(cluster: EmbeddedCluster, sent: signal.Signals) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", UP, cluster.home], start_new_session=True, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: any(cluster.home.glob("postgres/data.new-*")) or starter.poll() is not None)
    os.killpg(starter.pid, sent)
    assert starter.wait(timeout=60) != 0
    assert cluster.up().running
    write_note(cluster, "whole")
    assert not list(cluster.home.glob("postgres/data.new-*"))


def test_recovers_from_kill_9(cluster: EmbeddedCluster) -> None:
    cluster.up()
    write_note(cluster, "committed")
    pid = kill_server(cluster)
    status = cluster.up()
    assert status.running
    assert status.pid != pid
    assert read_notes(cluster) == ["committed"]


def test_recovers_when_a_stranger_has_the_old_process_id(cluster: EmbeddedCluster) -> None:
    cluster.up()
    write_note(cluster, "committed")
    kill_server(cluster)
    user = choose_server_user(cluster.home / "postgres")  # PostgreSQL is deceived by processes of its own user
    stranger = subprocess.Popen(
        ["/bin/sleep", "60"], user=user.uid if user.is_other else None, group=user.gid if user.is_other else None
    )
    pid_file = cluster.home / "postgres" / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
    try:
        assert not cluster.status().running
        assert not cluster.down()
        assert cluster.up().running
        assert stranger.poll() is None
        assert read_notes(cluster) == ["committed"]
    finally:
        stranger.kill()
        stranger.wait()


def test_takes_another_port_if_its_own_is_taken(cluster: EmbeddedCluster) -> None:
    port = cluster.up().port
    write_note(cluster, "moved")
    cluster.down()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port or 0))
        other.listen()
        moved = cluster.up().port
    assert moved not in (None, port)
    assert read_notes(cluster) == ["moved"]  # the password file holds for any port


@pytest.mark.parametrize("name", ["with space", "with $HOME and `quotes\"'", "ünïcode%41+"])
def test_any_folder_name_will_do(open_folder: Path, name: str) -> None:
    cluster = EmbeddedCluster(open_folder / name)
    try:
        cluster.up()
        write_note(cluster, "here")
        optuna.storages.RDBStorage(cluster.url())
    finally:
        cluster.down()


def test_a_server_that_cannot_start_shows_its_log(cluster: EmbeddedCluster) -> None:
    cluster.up()
    cluster.down()
    configuration = cluster.home / "postgres" / "data" / "postgresql.conf"
    configuration.write_text(configuration.read_text() + "\nno_such_setting = 1\n")
    with pytest.raises(EnvironmentMissingError, match="did not start; its log ends with") as caught:
        cluster.up()
    assert "no_such_setting" in caught.value.message


def test_initdb_that_fails_shows_what_it_said(cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomalyvfm_opt.store.cluster.MAX_CONNECTIONS", -1)
    with pytest.raises(EnvironmentMissingError, match="max_connections"):
        cluster.up()
    monkeypatch.undo()
    assert cluster.up().running


def test_missing_programs_are_named(cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_PACKAGE", "no_such_package")
    with pytest.raises(EnvironmentMissingError, match="not installed") as caught:
        cluster.up()
    assert "ANOMALYVFM_OPT_DB_URL" in caught.value.hint


def test_a_cluster_of_another_version_is_refused() -> None:
    with pytest.raises(EnvironmentMissingError, match="PostgreSQL 9"):
        find_installation(9)


def test_a_file_as_home_is_an_error(open_folder: Path) -> None:
    (open_folder / "home").write_text("")
    with pytest.raises(EnvironmentMissingError, match="home is not a folder"):
        EmbeddedCluster(open_folder / "home").up()


def test_a_file_as_cluster_folder_is_an_error(open_folder: Path) -> None:
    (open_folder / "postgres").write_text("")
    with pytest.raises(EnvironmentMissingError, match="cannot be used"):
        EmbeddedCluster(open_folder).up()


def test_a_lock_that_is_held_is_an_error(cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_WAIT_S", 0.05)
    cluster.home.mkdir()
    with (
        embedded.FileLock(cluster.home / "postgres.lock"),
        pytest.raises(EnvironmentMissingError, match="try again"),
    ):
        cluster.up()


@needs_root
def test_for_root_the_server_is_somebody_else(running: EmbeddedCluster) -> None:
    status = running.up()
    assert Path(f"/proc/{status.pid}").stat().st_uid == status.data_dir.stat().st_uid != 0
    assert (status.data_dir.parent.parent.stat().st_mode & 0o777) == 0o711


@needs_root
@needs_proc
def test_root_may_keep_it_in_a_closed_folder(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    cluster = EmbeddedCluster(closed / "home")
    try:
        cluster.up()
        write_note(cluster, "here")
        kill_server(cluster)
        cluster.up()
        assert read_notes(cluster) == ["here"]
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        assert cluster.down()


@needs_root
def test_a_folder_that_cannot_be_handed_over_names_who_blocks(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = open_folder / "closed"
    (closed / "home").mkdir(parents=True)
    closed.chmod(0o700)
    monkeypatch.setattr(ServerUser, "can_enter", lambda *_arguments: False)
    handing_over = Cluster(closed / "home").handed_over(choose_server_user(closed))
    with pytest.raises(EnvironmentMissingError, match=f"{closed} is closed to others"), handing_over:
        pass


@needs_root
def test_root_copies_programs_that_the_server_cannot_read(open_folder: Path) -> None:
    user = choose_server_user(open_folder / "none")
    found = find_installation()
    package = found.folder.parent
    closed = open_folder / "closed"
    shutil.copytree(found.folder, closed / package.name / found.folder.name)
    if (libraries := package.with_name(f"{package.name}.libs")).is_dir():
        shutil.copytree(libraries, closed / libraries.name)
    closed.chmod(0o700)
    hidden = Installation(closed / package.name / found.folder.name, found.major)
    copies = [make_runnable(hidden, user, open_folder) for _ in range(2)]
    assert copies[0] == copies[1]
    assert copies[0].folder.is_relative_to(open_folder / "postgres-bin")
    fresh = Cluster(open_folder / "postgres")
    fresh.prepare(user)
    fresh.create(copies[0], user)  # runs initdb and postgres, with all their libraries
    assert fresh.version() == str(found.major)
    with pytest.raises(EnvironmentMissingError, match="can run neither"):
        make_runnable(hidden, user, closed)


@needs_root
def test_an_ordinary_user_has_a_server_of_his_own(open_folder: Path) -> None:
    """Forked, not started anew: this interpreter may lie where another user cannot read it."""
    nobody = pwd.getpwnam("nobody")
    home = open_folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    cluster = EmbeddedCluster(home)
    try:
        child = os.fork()
        if child == 0:
            os._exit(_live_as(nobody.pw_uid, nobody.pw_gid, cluster))
        assert os.waitpid(child, 0)[1] == 0
        status = cluster.status()
        assert Path(f"/proc/{status.pid}").stat().st_uid == nobody.pw_uid
        assert cluster.passfile.stat().st_uid == nobody.pw_uid
        assert read_notes(cluster) == ["mine"]
    finally:
        cluster.down()


def _live_as(uid: int, gid: int, cluster: EmbeddedCluster) -> int:
    """In a forked child: become a user, start, write, stop, start. Returns the exit code."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    try:
        assert not choose_server_user(cluster.home).is_other
        first = cluster.up()
        write_note(cluster, "mine")
        assert cluster.down()
        assert cluster.up().pid != first.pid
    except BaseException as error:
        os.write(2, f"as uid {uid}: {error!r}\n".encode())
        return 1
    return 0


@needs_root
def test_a_cluster_of_another_user_is_refused(running: EmbeddedCluster) -> None:
    running.up()
    nobody = pwd.getpwnam("nobody")
    child = os.fork()
    if child == 0:
        os._exit(_is_refused(nobody.pw_uid, nobody.pw_gid, running))
    assert os.waitpid(child, 0)[1] == 0


def _is_refused(uid: int, gid: int, cluster: EmbeddedCluster) -> int:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    try:
        cluster.up()
    except EnvironmentMissingError as error:
        return 0 if "belongs to user" in str(error) else 2
    return 1
