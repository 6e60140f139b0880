"""The embedded PostgreSQL: a server of our own in the state folder, shared by all processes of the host.

It is started by whoever needs it first and outlives its starter; only `down` stops it. It listens on
127.0.0.1, and on one more address if it is told to, and asks for a password, which lies in a file that only the
state folder's owner may read.
"""

import os
import secrets
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy.engine import URL

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.store.embedded.binaries import Installation, find_installation, make_runnable
from anomalyvfm_opt.store.embedded.cluster import DATABASE, USER, Cluster, Postmaster, write_private
from anomalyvfm_opt.store.embedded.listen import LOCAL, can_bind, find_addresses, list_hosts, read_address
from anomalyvfm_opt.store.embedded.processes import find_processes, is_alive
from anomalyvfm_opt.store.embedded.server_user import ServerUser, choose_server_user
from anomalyvfm_opt.store.home import ROOT_HOME, create_folder
from anomalyvfm_opt.store.libpq_variables import forget_variables
from anomalyvfm_opt.store.passfile import format_line

_WAIT_S = 60.0
_PORTS = range(15432, 32000)  # below the ports that Linux gives to outgoing connections
_PORT_ATTEMPTS = 8
_POLL_S = 0.05


@dataclass(frozen=True)
class ClusterStatus:
    """What is known about the embedded database without connecting to it."""

    running: bool
    pid: int | None
    port: int | None
    data_dir: Path
    version: str  # PostgreSQL's major version; empty before the first start
    listen: str = LOCAL  # where other hosts may connect; 127.0.0.1 for this host alone


class EmbeddedCluster:
    """The embedded PostgreSQL of one state folder.

    Args:
        home: the state folder; `postgres/`, `postgres.lock` and `postgres.passfile` are made in it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._cluster = Cluster(home / "postgres")

    @property
    def passfile(self) -> Path:
        """The caller's password file in libpq's format."""
        return self.home / "postgres.passfile"

    def up(self, listen: str | None = None) -> ClusterStatus:
        """Make the cluster if there is none, start it if it is not running; safe to call from anywhere.

        1. A server that accepts connections is left alone.
        2. Else, alone under a file lock: wait for one that is starting or stopping, clear up after one that
           was killed, run initdb the first time, and start.

        Args:
            listen: an address to listen on as well; None for what was chosen last, 127.0.0.1 for it alone.

        Raises:
            EnvironmentMissingError: no programs, no usable folder, not our address, or the server does not start.
            UsageError: `listen` is not an address, or the server runs and listens elsewhere.
        """
        wanted = None if listen is None else read_address(listen)
        create_folder(self.home)
        with self._explained():
            user = choose_server_user(self._cluster.folder)
            is_kept = wanted in (None, self._cluster.listens_on())
            if not is_kept or not self._is_ready() or not self._has_passfile():
                with self._locked():
                    self._up_alone(user, wanted)
        return self.status()

    def down(self) -> bool:
        """Stop the server, breaking its connections off (a fast shutdown); the data stay.

        Returns:
            whether there was one to stop.

        Raises:
            EnvironmentMissingError: it does not stop.
        """
        if not self._cluster.folder.is_dir():
            return False
        with self._explained(), self._locked():
            if (postmaster := self._find_postmaster()) is None:
                return False
            os.kill(postmaster.pid, signal.SIGINT)  # what `pg_ctl stop -m fast` does, with a pid that was checked
            deadline = time.monotonic() + _WAIT_S
            while self._find_postmaster() is not None:
                if time.monotonic() > deadline:
                    raise EnvironmentMissingError(
                        f"the embedded database (process {postmaster.pid}) did not stop within {_WAIT_S:.0f} s",
                        f"see {self._cluster.log}",
                    )
                time.sleep(_POLL_S)
        return True

    def status(self) -> ClusterStatus:
        """Return whether the server runs, and where.

        Raises:
            EnvironmentMissingError: the cluster belongs to another user.
        """
        with self._explained():
            postmaster = self._find_postmaster()
            return ClusterStatus(
                running=postmaster is not None,
                pid=postmaster.pid if postmaster else None,
                port=(postmaster.port or None) if postmaster else None,
                data_dir=self._cluster.data,
                version=self._cluster.version(),
                listen=self._cluster.listens_on(),
            )

    def url(self) -> str:
        """Return the URL of the running database: usable by Optuna, and without a password in it.

        Raises:
            EnvironmentMissingError: it is not running.
        """
        return (
            _make_url(LOCAL, self._find_port())
            .update_query_dict({"passfile": str(self.passfile)})
            .render_as_string()
        )

    def reach(self) -> str:
        """Return the same, and forget the environment's settings of libpq, which are meant for another server.

        Raises:
            EnvironmentMissingError: it is not running.
        """
        forget_variables()
        return self.url()

    def urls_for_others(self) -> list[str]:
        """Return the URLs of the running database for other hosts, best first; they need a copy of `passfile`.

        Raises:
            EnvironmentMissingError: it is not running.
        """
        port = self._find_port()
        return [_make_url(host, port).render_as_string() for host in list_hosts(self._cluster.listens_on())]

    def _find_port(self) -> int:
        port = self.status().port
        if port is None:
            raise EnvironmentMissingError(
                f"the embedded database in {self.home} is not running", "start it with: anomalyvfm-opt db up"
            )
        return port

    def _find_postmaster(self) -> Postmaster | None:
        return self._cluster.postmaster() if self._cluster.data.is_dir() else None

    def _is_ready(self) -> bool:
        postmaster = self._find_postmaster()
        return postmaster is not None and postmaster.phase == "ready"

    def _up_alone(self, user: ServerUser, wanted: str | None) -> None:
        """Do what `up` says, under the lock."""
        self._cluster.prepare(user)
        self._wait_while_changing()
        kept = self._cluster.listens_on()
        if self._is_ready() and wanted not in (None, kept):
            raise UsageError(
                f"the embedded database runs already and listens on {kept}, not on {wanted}",
                "stop it first, while no worker runs: anomalyvfm-opt db down",
            )
        if not self._is_ready():
            addresses = find_addresses(wanted or kept)
            version = self._cluster.version()
            installation = find_installation(int(version) if version else None)
            place = self.home if user.can_enter(self.home) else ROOT_HOME
            installation = make_runnable(installation, user, place)
            if not version:
                self._cluster.create(installation, user)
            self._clear_after_crash()
            self._cluster.listen_on(wanted or kept, user)
            self._start(installation, user, addresses)
        if not self._has_passfile():
            write_private(self.passfile, self._pass_lines())

    def _wait_while_changing(self) -> None:
        """Wait for a server that another process left starting (recovery may take long) or stopping."""
        deadline = time.monotonic() + _WAIT_S
        while (postmaster := self._find_postmaster()) is not None and postmaster.phase != "ready":
            if time.monotonic() > deadline:
                raise EnvironmentMissingError(
                    f"the embedded database (process {postmaster.pid}) is still {postmaster.phase} "
                    f"after {_WAIT_S:.0f} s",
                    f"see {self._cluster.log}",
                )
            time.sleep(_POLL_S)

    def _clear_after_crash(self) -> None:
        """Make room after a server that was killed, or that a reboot ended.

        Its children end by themselves soon after it; PostgreSQL would not start before. What it cannot see
        is that the process with the id in `postmaster.pid` is now a stranger: that file goes.
        """
        deadline = time.monotonic() + _WAIT_S
        owner = self._cluster.data.stat().st_uid
        while orphans := find_processes(self._cluster.name(), "postgres", owner):
            if time.monotonic() > deadline:
                raise EnvironmentMissingError(
                    f"processes {orphans} of a killed embedded database are still running",
                    "end them and try again",
                )
            time.sleep(_POLL_S)
        pid = self._cluster.postmaster_pid()
        if pid is not None and is_alive(pid):
            (self._cluster.data / "postmaster.pid").unlink(missing_ok=True)

    def _start(self, installation: Installation, user: ServerUser, addresses: tuple[str, ...]) -> None:
        """Start on the port of last time; on others if a program has taken it."""
        kept = self._cluster.folder / "port"
        ports = [secrets.choice(_PORTS) for _ in range(_PORT_ATTEMPTS)]
        if kept.is_file() and (text := kept.read_text().strip()).isdigit():
            ports.insert(0, int(text))
        log = self._cluster.log
        said = f"no free port at {', '.join(addresses)}"
        for port in ports:
            if not all(can_bind(address, port) for address in addresses):
                continue  # PostgreSQL would start all the same, on those that are free
            before = log.stat().st_size if log.is_file() else 0
            with self._cluster.handed_over(user) as (folder, descriptors):
                command = [installation.program("pg_ctl"), "start", "--silent", "-w", "-t", f"{_WAIT_S:.0f}"]
                options = f"-p {port} -c cluster_name={self._cluster.name()}"
                options += f" -c listen_addresses={shlex.quote(','.join(addresses))}"
                command += ["-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options]
                done = user.run(command, descriptors=descriptors)
            if done.returncode == 0:
                write_private(kept, f"{port}\n", user)
                return
            said = log.read_bytes()[before:].decode(errors="replace") if log.is_file() else done.stderr
            if "could not bind" not in said:
                break
        raise EnvironmentMissingError(
            f"the embedded database in {self._cluster.folder} did not start; its log ends with:\n  "
            + "\n  ".join(said.strip().splitlines()[-5:]),
            f"see {log}, or set ANOMALYVFM_OPT_DB_URL",
        )

    def _pass_lines(self) -> str:
        """Return the lines of the password file for any port, since it may change with a start."""
        hosts = (LOCAL, *list_hosts(self._cluster.listens_on()))
        return "".join(format_line(host, USER, self._cluster.password()) for host in hosts)

    def _has_passfile(self) -> bool:
        is_there = self.passfile.is_file() and self.passfile.stat().st_mode & 0o077 == 0
        return is_there and self.passfile.read_text() == self._pass_lines()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with FileLock(self.home / "postgres.lock", timeout=2 * _WAIT_S, mode=0o600):
                yield
        except Timeout:
            raise EnvironmentMissingError(
                f"another process has been starting or stopping the database in {self.home} "
                f"for {2 * _WAIT_S:.0f} s",
                "try again; `anomalyvfm-opt db status` shows what runs",
            ) from None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the file system refuses into an error for a person."""
        try:
            yield
        except OSError as error:
            raise EnvironmentMissingError(
                f"the embedded database in {self.home} cannot be used: {error.strerror} ({error.filename})",
                "check the folder and its free space, or set ANOMALYVFM_OPT_HOME or ANOMALYVFM_OPT_DB_URL",
            ) from None


def _make_url(host: str, port: int) -> URL:
    return URL.create("postgresql+psycopg2", username=USER, host=host, port=port, database=DATABASE)
