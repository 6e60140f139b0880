"""`db up --listen`: the embedded database for other hosts."""

import json
import shutil
import socket
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import make_url, text

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.store.embedded import listen
from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from anomalyvfm_opt.store.engine import check_connection, make_engine
from tests.integration.program import CATEGORY, Program, assert_one_error, write_spec
from tests.integration.server_notes import kill_server, read_notes, write_note

OTHER = "127.0.0.2"  # an address of this host beside 127.0.0.1, on Linux
NOT_OURS = "192.0.2.7"  # reserved for documentation
pytestmark = pytest.mark.skipif(not listen.can_bind(OTHER, 0), reason=f"this system has no {OTHER}")


def connect_as_another_host_would(cluster: EmbeddedCluster, folder: Path) -> str:
    """Over the printed URL, with a copy of the password file; returns the address that the server answers at."""
    copy = folder / "copied.passfile"
    shutil.copyfile(cluster.passfile, copy)
    copy.chmod(0o600)
    engine = make_engine(f"{cluster.urls_for_others()[0]}?passfile={copy}")
    with engine.connect() as connection:
        address = str(connection.scalar(text("SELECT host(inet_server_addr())")))
    engine.dispose()
    return address


def refuses_others(cluster: EmbeddedCluster) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((OTHER, cluster.status().port or 0)) != 0


def test_it_listens_there_from_start_to_start_until_told_otherwise(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    cluster.up(OTHER)
    assert cluster.status().listen == OTHER
    assert connect_as_another_host_would(cluster, tmp_path) == OTHER
    write_note(cluster, "from here")  # over 127.0.0.1
    assert cluster.up() == cluster.up(OTHER) == cluster.status()  # both leave it alone
    cluster.down()
    assert cluster.status().listen == OTHER
    cluster.up()
    assert connect_as_another_host_would(cluster, tmp_path) == OTHER
    kill_server(cluster)
    cluster.up()
    assert connect_as_another_host_would(cluster, tmp_path) == OTHER
    cluster.down()
    cluster.up("127.0.0.1")
    assert refuses_others(cluster)
    assert cluster.urls_for_others() == []
    assert OTHER not in cluster.passfile.read_text()
    assert "--listen" not in (cluster.home / "postgres/data/pg_hba.conf").read_text()
    assert read_notes(cluster) == ["from here"]


def test_another_address_while_it_runs_is_refused(cluster: EmbeddedCluster) -> None:
    before = cluster.up()
    with pytest.raises(UsageError, match=rf"listens on 127\.0\.0\.1, not on {OTHER} .*anomalyvfm-opt db down"):
        cluster.up(OTHER)
    assert cluster.up() == before
    assert refuses_others(cluster)


def test_without_the_password_nobody_gets_in(cluster: EmbeddedCluster) -> None:
    cluster.up(OTHER)
    url = make_url(cluster.urls_for_others()[0])
    for database in (url.database, "postgres"):
        with pytest.raises(psycopg2.OperationalError, match=r"password|pg_hba\.conf"):
            psycopg2.connect(host=OTHER, port=url.port, user=url.username, dbname=database, passfile="/dev/null")


def test_an_address_that_is_not_ours_is_refused_and_not_kept(cluster: EmbeddedCluster) -> None:
    with pytest.raises(EnvironmentMissingError, match=f"{NOT_OURS} is not an address of this host"):
        cluster.up(NOT_OURS)
    assert not cluster.status().running
    assert cluster.up().listen == "127.0.0.1"


def test_an_address_that_has_gone_is_said_with_the_way_back(
    cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.up(OTHER)
    cluster.down()
    monkeypatch.setattr(listen, "can_bind", lambda address, _port: address != OTHER)
    with pytest.raises(EnvironmentMissingError, match=r"is not an address of this host .*--listen 127\.0\.0\.1"):
        cluster.up()
    assert cluster.up("127.0.0.1").listen == "127.0.0.1"


def test_a_port_that_is_taken_at_that_address_alone(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    port = cluster.up(OTHER).port or 0
    cluster.down()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((OTHER, port))
        taken.listen()
        assert cluster.up().port != port  # PostgreSQL alone would have stayed, deaf on that address
        assert connect_as_another_host_would(cluster, tmp_path) == OTHER


def test_all_addresses(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    cluster.up("0.0.0.0")  # noqa: S104
    assert connect_as_another_host_would(cluster, tmp_path)
    check_connection(make_engine(cluster.url()))
    assert not refuses_others(cluster)


@pytest.mark.skipif(not listen.can_bind("::1", 0), reason="this system has no IPv6")
def test_ipv6(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    cluster.up("[::1]")
    assert "[::1]" in cluster.urls_for_others()[0]
    assert connect_as_another_host_would(cluster, tmp_path) == "::1"


def test_the_commands_warn_and_say_how_to_join(program: Program, cluster: EmbeddedCluster, tmp_path: Path) -> None:
    other = Program(cluster, program.data)
    spec, data = write_spec(tmp_path, "invited"), ("--data", str(program.data), "--category", CATEGORY)
    try:
        done = other.run("db", "up", "--listen", OTHER)
        assert done.returncode == 0, done.stderr
        port = cluster.status().port
        assert "WARNING" in done.stderr
        assert "encrypts nothing" in done.stderr
        url = f"postgresql+psycopg2://anomalyvfm_opt_worker@{OTHER}:{port}/anomalyvfm_opt"
        assert f"ANOMALYVFM_OPT_DB_URL={url}" in done.stderr
        passfile = cluster.home / "postgres.workers.passfile"
        assert passfile.stat().st_mode & 0o777 == 0o600
        for file in (passfile, cluster.passfile):
            assert str(file) in done.stderr
            assert file.read_text().splitlines()[0].rpartition(":")[2] not in done.stderr
        kept = passfile.read_text()
        assert other.run("db", "up").returncode == 0
        assert passfile.read_text() == kept
        worker = {"ANOMALYVFM_OPT_DB_URL": url, "PGPASSFILE": str(passfile)}
        assert other.run("study", "list", **worker).returncode == 0
        refused = other.run("study", "create", str(spec), *data, **worker)
        assert "may not create studies" in assert_one_error(refused, 3)
        passfile.unlink()  # then the role has a password that nobody here knows
        done = other.run("db", "up")
        assert (
            f"anomalyvfm_opt_worker has a password that was given by hand: put it into {passfile}" in done.stderr
        )
        assert not passfile.exists()
        log = (cluster.home / "postgres" / "log").read_text()
        assert kept.rpartition(":")[2].strip() not in log
        assert json.loads(other.run("db", "status", "--json").stdout)["listen"] == OTHER
        assert OTHER in other.run("db", "status").stdout
        assert "db down" in assert_one_error(other.run("db", "up", "--listen", "127.0.0.1"), 2)
        assert "not a host's" not in assert_one_error(other.run("db", "up", "--listen", "a b;c"), 2)
    finally:
        cluster.down()
