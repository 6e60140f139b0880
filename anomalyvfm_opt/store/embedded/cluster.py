"""The files of one PostgreSQL cluster: made once by initdb, owned by the server's user."""

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anomalyvfm_opt.durable import written_whole
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.files import is_real_folder
from anomalyvfm_opt.store.embedded.binaries import Installation
from anomalyvfm_opt.store.embedded.listen import LOCAL
from anomalyvfm_opt.store.embedded.processes import is_process
from anomalyvfm_opt.store.embedded.server_user import ServerUser

USER = "anomalyvfm_opt"
DATABASE = "anomalyvfm_opt"
MAX_CONNECTIONS = 300  # up to four a worker (ours and Optuna's pools), and the dashboard
_LISTEN_MARK = "# db up --listen"
_FRESH = re.compile(r"data\.new-[0-9a-f]{8}")
_LEFTOVER_WAIT_S = 20.0
_UNSAFE_IN_SHELL = frozenset('"$`\\\n')  # pg_ctl puts paths between double quotes for a shell


@dataclass(frozen=True)
class Postmaster:
    """A live server, as its own file `postmaster.pid` describes it."""

    pid: int
    port: int
    phase: str  # starting, ready, stopping


@dataclass(frozen=True)
class Cluster:
    """Where the files are: `data/`, `log`, `port` (the last one used), `listen` and `password`.

    The folder is 0700 and belongs to the server's user.
    """

    folder: Path

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the server has to say."""
        return self.folder / "log"

    def version(self) -> str:
        """Return the major version that made the cluster; empty if there is none yet."""
        path = self.data / "PG_VERSION"
        return path.read_text().strip() if path.is_file() else ""

    def name(self) -> str:
        """Return what the server's processes carry in their command line: unique on this host, kept by a move."""
        status = self.data.stat()
        return f"anomalyvfm_opt-{hashlib.sha256(f'{status.st_dev}:{status.st_ino}'.encode()).hexdigest()[:12]}"

    def password(self) -> str:
        """Return the password of the database user that the cluster was made with."""
        return (self.folder / "password").read_text().strip()

    def listens_on(self) -> str:
        """Return what `--listen` chose last; 127.0.0.1 for this host alone."""
        path = self.folder / "listen"
        return path.read_text().strip() if path.is_file() else LOCAL

    def listen_on(self, chosen: str, user: ServerUser) -> None:
        """Keep an address for the next start; roles with a password get in from other hosts if it needs to be."""
        if chosen == self.listens_on():
            return
        path = self.data / "pg_hba.conf"
        kept = [line for line in path.read_text().splitlines() if not line.endswith(_LISTEN_MARK)]
        if chosen != LOCAL:
            kept.append(f"host {DATABASE} all all scram-sha-256 {_LISTEN_MARK}")
        write_private(path, "\n".join(kept) + "\n", user)
        write_private(self.folder / "listen", f"{chosen}\n", user)

    def postmaster_pid(self) -> int | None:
        """Return the process id in `postmaster.pid`, which may be left over from a crash."""
        lines = self._read_pid_file()
        return int(lines[0]) if lines and lines[0].isdigit() else None

    def postmaster(self) -> Postmaster | None:
        """Return the live server; None if there is none, or if the process with its id is something else."""
        pid = self.postmaster_pid()
        if pid is None or not is_process(pid, f"cluster_name={self.name()}", "postgres", self.data.stat().st_uid):
            return None
        lines = self._read_pid_file()
        port = int(lines[3]) if len(lines) > 3 and lines[3].isdigit() else 0
        phase = lines[7].strip() if len(lines) > 7 and port else "starting"
        return Postmaster(pid, port, phase)

    def _read_pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def prepare(self, user: ServerUser) -> None:
        """Make the folder, for its user alone."""
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700)
        self.folder.chmod(0o700)
        if user.is_other and self.folder.stat().st_uid != user.uid:
            os.chown(self.folder, user.uid, user.gid)

    def create(self, installation: Installation, user: ServerUser) -> None:
        """Run initdb and make our database; complete or not there at all.

        Raises:
            EnvironmentMissingError: with what initdb said; or the user has a number and no name, which it refuses.
        """
        if not user.is_known:
            raise EnvironmentMissingError(
                f"user {user.uid} has no entry in passwd, and PostgreSQL makes no database for such a one",
                "run as a user that this host knows, or set ANOMALYVFM_OPT_DB_URL to another PostgreSQL",
            )
        self._remove_leftovers()
        fresh = self.folder / f"data.new-{secrets.token_hex(4)}"  # `_FRESH` knows it again
        write_private(self.folder / "password", secrets.token_urlsafe(32) + "\n", user)
        settings = {
            "max_connections": str(MAX_CONNECTIONS),
            "listen_addresses": LOCAL,
            "unix_socket_directories": "",  # a socket's path must fit in 107 bytes; home's may not
        }
        with self.handed_over(user) as (folder, descriptors):
            data = f"{folder}/{fresh.name}"
            options = ["--encoding=UTF8", "--locale=C", "--auth-host=scram-sha-256", "--auth-local=scram-sha-256"]
            options += [f"--set={key}={value}" for key, value in settings.items()]
            initdb = [installation.program("initdb"), "-D", data, "-U", USER, f"--pwfile={folder}/password"]
            self._run(user, [*initdb, *options], descriptors)
            single = [installation.program("postgres"), "--single", "-j", "-D", data, "postgres"]
            self._run(user, single, descriptors, given=f'CREATE DATABASE "{DATABASE}";\n\n')
        fresh.rename(self.data)

    def _remove_leftovers(self) -> None:
        """Remove what a killed `create` left, whose programs may still be writing for a moment."""
        deadline = time.monotonic() + _LEFTOVER_WAIT_S
        while leftovers := [path for path in sorted(self.folder.iterdir()) if _is_leftover(path)]:
            try:
                shutil.rmtree(leftovers[0])
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _run(self, user: ServerUser, command: Sequence[str], descriptors: Sequence[int], given: str = "") -> None:
        done = user.run(command, given=given, descriptors=descriptors)
        if done.returncode != 0 or "ERROR:" in done.stderr:
            said = (done.stderr or done.stdout).strip().splitlines()[-5:]
            raise EnvironmentMissingError(
                f"the embedded database in {self.folder} could not be made; {Path(command[0]).name} said:\n  "
                + "\n  ".join(said),
                "free disk space or choose another folder with ANOMALYVFM_OPT_HOME, or set ANOMALYVFM_OPT_DB_URL",
            )

    @contextmanager
    def handed_over(self, user: ServerUser) -> Iterator[tuple[str, Sequence[int]]]:
        """Return the folder as the server's processes may name it, with the descriptors to hand over to them.

        Normally its path. For root, a parent may be closed to the server's user (/root, a temporary folder):
        then the folder is opened by us and inherited by the server, which finds it under /proc/self/fd.
        So no mode of anybody's folder is changed, and the data stay in the state folder.

        Yields:
            the folder's name, and open file descriptors.

        Raises:
            EnvironmentMissingError: the server's user cannot reach it in either way.
        """
        is_plain = not _UNSAFE_IN_SHELL & set(str(self.folder))
        if is_plain and user.can_enter(self.folder):
            yield str(self.folder), ()
            return
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            inherited = Path(f"/proc/self/fd/{descriptor}")
            if not inherited.exists() or not user.can_enter(inherited, [descriptor]):
                raise EnvironmentMissingError(
                    f"user {user.name}, who runs PostgreSQL for root, cannot reach {self.folder}: "
                    f"{_find_closed_folder(self.folder)} is closed to others",
                    "set ANOMALYVFM_OPT_HOME to a folder under /var/lib, or ANOMALYVFM_OPT_DB_URL",
                )
            yield str(inherited), (descriptor,)
        finally:
            os.close(descriptor)


def _is_leftover(path: Path) -> bool:
    """Return whether a path is a folder that a `create` began; links and other names are not ours."""
    return _FRESH.fullmatch(path.name) is not None and is_real_folder(path)


def _find_closed_folder(folder: Path) -> Path:
    parents = reversed(folder.parents)
    return next((path for path in parents if not path.stat().st_mode & 0o001), folder)


def write_private(path: Path, text: str, owner: ServerUser | None = None) -> None:
    """Write a file that its owner alone may read; complete or not there at all.

    Args:
        path: where to.
        text: what.
        owner: whose it is; None for the caller's.
    """
    with written_whole(path, 0o600) as file:
        if owner is not None and owner.is_other:
            os.fchown(file.fileno(), owner.uid, owner.gid)
        file.write(text.encode())
