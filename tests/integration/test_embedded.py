"""The embedded PostgreSQL with real servers and real processes."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import optuna
import psycopg2
import pytest
from sqlalchemy import text

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.embedded import binaries, server
from anomalyvfm_opt.store.embedded.binaries import find_installation
from anomalyvfm_opt.store.embedded.server import ClusterStatus, EmbeddedCluster
from anomalyvfm_opt.store.embedded.server_user import choose_server_user
from anomalyvfm_opt.store.engine import make_engine
from tests.integration.server_notes import kill_server, read_notes, wait_until, write_note

UP = (
    "import sys; from pathlib import Path; from anomalyvfm_opt.store.embedded.server import EmbeddedCluster as E; "
)
UP += "c = E(Path(sys.argv[1])); print(c.up().pid)"


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


def test_nobody_else_gets_in(cluster: EmbeddedCluster) -> None:
    status = cluster.up()
    assert cluster.passfile.stat().st_mode & 0o777 == 0o600
    assert cluster.passfile.stat().st_uid == os.geteuid()
    for folder in (status.data_dir, status.data_dir.parent):
        assert folder.stat().st_mode & 0o777 == 0o700
    password = cluster.passfile.read_text().strip().rpartition(":")[2]
    assert len(password) >= 32
    assert password not in cluster.url()
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(host="127.0.0.1", port=status.port, user="anomalyvfm_opt", passfile="/dev/null")
    engine = make_engine(cluster.url())
    with engine.connect() as connection:
        settings = dict(connection.execute(text("SELECT name, setting FROM pg_settings")).all())
    engine.dispose()
    assert settings["listen_addresses"] == "127.0.0.1"
    assert settings["unix_socket_directories"] == ""
    assert settings["max_connections"] == "300"
    assert settings["fsync"] == "on"
    assert settings["server_encoding"] == "UTF8"


def test_optuna_works_on_the_url(running_cluster: EmbeddedCluster) -> None:
    running_cluster.up()
    study = optuna.create_study(storage=optuna.storages.RDBStorage(running_cluster.url()))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert len(study.trials) == 2


def test_a_lost_passfile_is_written_again(running_cluster: EmbeddedCluster) -> None:
    status = running_cluster.up()
    running_cluster.passfile.unlink()
    assert running_cluster.up() == status
    write_note(running_cluster, "still in")


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
    monkeypatch.setattr("anomalyvfm_opt.store.embedded.cluster.MAX_CONNECTIONS", -1)
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
    monkeypatch.setattr(server, "_WAIT_S", 0.05)
    cluster.home.mkdir()
    with (
        server.FileLock(cluster.home / "postgres.lock"),
        pytest.raises(EnvironmentMissingError, match="try again"),
    ):
        cluster.up()
