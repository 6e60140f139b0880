"""A PostgreSQL of somebody else's: over TCP, with passwords, roles and a database made by its administrator."""

import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy.engine import URL

from anomalyvfm_opt.store.embedded.binaries import find_installation, make_runnable
from anomalyvfm_opt.store.embedded.cluster import write_private
from anomalyvfm_opt.store.embedded.server_user import choose_server_user

ADMIN = "postgres"
USER = "engineer"
DATABASE = "vision"
_HOST = "127.0.0.1"


@dataclass(frozen=True)
class ExternalServer:
    """One server in a folder of its own; `USER` owns `DATABASE`, and `passfile` knows every user's password."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """For `--db`, beside PGPASSFILE: neither a password nor a password file in it."""
        return self.url_of(USER, DATABASE)

    @property
    def passfile(self) -> Path:
        """For PGPASSFILE."""
        return self.folder / "passfile"

    @property
    def local_url(self) -> str:
        """The same URL with the password file named in it, for use in the tests' own process."""
        return f"{self.url}?passfile={self.passfile}"

    @property
    def environment(self) -> dict[str, str]:
        """How a user points the program at this server."""
        return {"ANOMALYVFM_OPT_DB_URL": self.url, "PGPASSFILE": str(self.passfile)}

    def url_of(self, user: str, database: str) -> str:
        """The URL of a user's connection to a database."""
        return str(URL.create("postgresql", username=user, host=_HOST, port=self.port, database=database))

    def admin(self, sql: str, database: str = ADMIN) -> list[tuple[Any, ...]]:
        """What the administrator does: one statement, outside of a transaction."""
        connection = psycopg2.connect(
            host=_HOST, port=self.port, user=ADMIN, dbname=database, passfile=str(self.passfile)
        )
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def add_user(self, name: str, options: str = "") -> None:
        """Make a role that may log in, and put its password into the password file."""
        self.admin(f"CREATE ROLE {name} LOGIN {options}")
        self.set_password(name)

    def set_password(self, name: str) -> str:
        """Give a role a password, put it into the password file, and say it."""
        password = secrets.token_hex(16)
        self.admin(f"ALTER ROLE {name} PASSWORD '{password}'")
        self._note_password(name, password)
        return password

    def empty(self) -> None:
        """Make the database anew, whoever is connected to it."""
        self.admin(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        self.admin(f"CREATE DATABASE {DATABASE} OWNER {USER}")

    def start(self) -> None:
        """Start it; the port stays."""
        self._control("start", "-l", str(self.folder / "log"), "-o", f"-p {self.port}")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` breaks connections off, `immediate` is what a crash looks like."""
        self._control("stop", "-m", mode)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "--silent", "-w", "-t", "60", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        user = choose_server_user(self.folder)
        installation = make_runnable(find_installation(), user, self.folder)
        done = user.run([installation.program(program), *arguments])
        assert done.returncode == 0, done.stderr or done.stdout

    def _note_password(self, user: str, password: str) -> None:
        start = f"{_HOST}:{self.port}:*:{user}:"
        known = self.passfile.read_text().splitlines() if self.passfile.exists() else []
        others = [line for line in known if not line.startswith(start)]
        write_private(self.passfile, "\n".join([*others, start + password]) + "\n")

    def make(self) -> None:
        """Run initdb and start, with `USER` and `DATABASE` as an administrator would make them."""
        password = secrets.token_hex(16)
        owner = choose_server_user(self.folder / "data")
        (self.folder / "data").mkdir()
        shutil.chown(self.folder, owner.uid, owner.gid)
        shutil.chown(self.folder / "data", owner.uid, owner.gid)
        write_private(self.folder / "first", password, owner)
        settings = {"listen_addresses": _HOST, "unix_socket_directories": "", "fsync": "off"}
        options = [f"--set={key}={value}" for key, value in settings.items()]
        options += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", f"--pwfile={self.folder / 'first'}"]
        self._run("initdb", "-D", str(self.folder / "data"), "-U", ADMIN, *options)
        self._note_password(ADMIN, password)
        self.start()
        self.add_user(USER)
        self.empty()


@contextmanager
def run_external_server() -> Iterator[ExternalServer]:
    """A fresh server for the length of a `with`."""
    folder = Path(tempfile.mkdtemp(prefix="anomalyvfm-opt-external-"))
    folder.chmod(0o711)
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port = free.getsockname()[1]
    server = ExternalServer(folder, port)
    try:
        server.make()
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.stop("immediate")
        shutil.rmtree(folder)
