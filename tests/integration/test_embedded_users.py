"""Who runs the embedded PostgreSQL: for root another user, who may be shut out; else the caller."""

import json
import os
import pwd
import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.embedded.binaries import Installation, find_installation, make_runnable
from anomalyvfm_opt.store.embedded.cluster import Cluster
from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from anomalyvfm_opt.store.embedded.server_user import ServerUser, choose_server_user
from tests.integration.program import FinishedStudy, Program
from tests.integration.server_notes import kill_server, read_notes, write_note

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become another user")
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")


def test_for_root_the_server_is_somebody_else(running_cluster: EmbeddedCluster) -> None:
    status = running_cluster.up()
    assert Path(f"/proc/{status.pid}").stat().st_uid == status.data_dir.stat().st_uid != 0
    assert (status.data_dir.parent.parent.stat().st_mode & 0o777) == 0o711


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


def test_a_cluster_of_another_user_is_refused(running_cluster: EmbeddedCluster) -> None:
    running_cluster.up()
    nobody = pwd.getpwnam("nobody")
    child = os.fork()
    if child == 0:
        os._exit(_is_refused(nobody.pw_uid, nobody.pw_gid, running_cluster))
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


def test_another_user_can_read_nothing_in_the_state_folder_and_gets_no_connection(
    program: Program, finished_study: FinishedStudy
) -> None:
    """All that is left of a study that ran: the database, its password, checkpoints, images, trained files."""
    home = program.cluster.home
    status = program.cluster.status()
    (home / "dashboard.token").touch(0o600)
    shared = home / "postgres-bin"  # PostgreSQL's own programs, where root had to copy them
    paths = [path for path in home.rglob("*") if not path.is_relative_to(shared)]
    names = {path.relative_to(home).parts[0] for path in paths}
    assert names >= {"artifacts", "cache", "postgres", "postgres.passfile"}
    readable = _ask_as_nobody(lambda: [str(path) for path in (home, *paths) if _can_read(path)])
    assert readable == []

    def connect() -> list[str]:
        for passfile in ("/dev/null", str(program.cluster.passfile), str(home / "postgres" / "password")):
            for host in ("127.0.0.1", "/tmp", "/var/run/postgresql"):  # noqa: S108 - where a socket would be
                for user in ("anomalyvfm_opt", "postgres", "nobody"):
                    try:
                        psycopg2.connect(
                            host=host, port=status.port, user=user, dbname="anomalyvfm_opt", passfile=passfile
                        )
                    except psycopg2.OperationalError:
                        continue
                    return [f"{user} at {host} with {passfile}"]
        return []

    assert _ask_as_nobody(connect) == []


def _can_read(path: Path) -> bool:
    try:
        list(path.iterdir()) if path.is_dir() else path.open("rb").close()
    except OSError:
        return False
    return True


def _ask_as_nobody(question: Callable[[], list[str]]) -> list[str]:
    """What a forked child of another user answers."""
    nobody = pwd.getpwnam("nobody")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            os.write(writer, json.dumps(question()).encode()[:60_000])
        except BaseException as error:
            os.write(writer, json.dumps([repr(error)]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        found: list[str] = json.loads(answers.read())
    os.waitpid(child, 0)
    return found
