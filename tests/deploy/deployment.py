"""The services of docker-compose.yml as processes of this host.

Every command, entrypoint and health check is run as it stands there; only addresses and paths are translated.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalyvfm_opt.store.embedded.binaries import Installation, find_installation, make_runnable
from anomalyvfm_opt.store.embedded.cluster import write_private
from anomalyvfm_opt.store.embedded.server_user import ServerUser, choose_server_user
from tests.deploy.files import ROOT, read_compose, read_image_environment
from tests.integration.program import Finished, finish

_ENTRYPOINT = ROOT / "deploy" / "entrypoint.sh"
_MAKE_SECRETS = ROOT / "deploy" / "make_secrets.sh"


@dataclass(frozen=True)
class Deployment:
    """Runs what the services of docker-compose.yml run."""

    folder: Path
    server: Installation
    database_port: int
    dashboard_port: int
    translations: Mapping[str, str]

    def translate(self, text: str, name: str = "prepare") -> str:
        """What a service names, as it is here; each has a folder in memory of its own."""
        own = self.folder / "run" / name
        own.mkdir(exist_ok=True)
        here = {**self.translations, "/run/anomalyvfm-opt": str(own)}
        there = "|".join(map(re.escape, here))
        return re.sub(rf"({there})(?!\w)", lambda match: here[match[1]], text)

    def environment(self, name: str) -> dict[str, str]:
        """What a service's processes find, and what they need to be found here."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANOMALYVFM_OPT_", "PG"))}
        set_by_files = {**read_image_environment(), **self.service(name)["environment"]}
        ours = {key: self.translate(str(value), name) for key, value in set_by_files.items()}
        path = os.pathsep.join([str(Path(sys.executable).parent), str(self.server.folder / "bin"), kept["PATH"]])
        return {**kept, **ours, "PATH": path, "PGPORT": str(self.database_port), "OMP_NUM_THREADS": "1"}

    def service(self, name: str) -> dict[str, Any]:
        service: dict[str, Any] = read_compose()["services"][name]
        return service

    def url(self) -> str:
        """The store's URL as this process may use it: with the clients' password file beside it."""
        environment = self.environment("prepare")
        return f"{environment['ANOMALYVFM_OPT_DB_URL']}?passfile={environment['PGPASSFILE']}"

    def password(self) -> str:
        """The server's."""
        file = self.service("database")["environment"]["POSTGRES_PASSWORD_FILE"]
        return Path(self.translate(file)).read_text().strip()

    def grace_s(self, name: str) -> float:
        """How long a service may take to end when it is stopped."""
        minutes = str(self.service(name)["stop_grace_period"])
        assert minutes.endswith("m")
        return float(minutes[:-1]) * 60

    def start(self, name: str, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start a service of ours, or like `docker compose run` another command in its place."""
        words = command or self.service(name)["command"]
        return subprocess.Popen(
            [str(_ENTRYPOINT), *(self.translate(word, name) for word in words)],
            env={**self.environment(name), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, name: str, *command: str, **environment: str) -> Finished:
        return finish(self.start(name, *command, **environment))

    def check(self, name: str, **environment: str) -> int:
        """The exit status of a service's health check, which passes no entrypoint."""
        kind, *command = self.service(name)["healthcheck"]["test"]
        assert kind == "CMD"
        words = [self.translate(word, name) for word in command]
        done = subprocess.run(
            words, env={**self.environment(name), **environment}, capture_output=True, timeout=60
        )
        return done.returncode

    @contextmanager
    def running_database(self) -> Iterator[None]:
        """Run the service `database` as its image would: initdb, the server, and the database."""
        user = choose_server_user(self.folder / "postgres")
        binaries = make_runnable(self.server, user, self.folder)
        data = self._make_cluster(binaries, user)
        command = self.service("database")["command"]
        process = subprocess.Popen(
            [binaries.program(command[0]), *command[1:], "-c", "unix_socket_directories="],
            env={"PATH": os.defpath, "PGDATA": str(data), "PGPORT": str(self.database_port)},
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=user.uid if user.is_other else None,
            group=user.gid if user.is_other else None,
            extra_groups=[] if user.is_other else None,
        )
        try:
            self._create_database(process)
            yield
        finally:
            process.terminate()
            process.wait(60)

    def _make_cluster(self, binaries: Installation, user: ServerUser) -> Path:
        folder = self.folder / "postgres"
        folder.mkdir(mode=0o700)
        if user.is_other:
            os.chown(folder, user.uid, user.gid)
        settings = self.service("database")["environment"]
        write_private(folder / "password", self.password(), user)
        command = [binaries.program("initdb"), "-D", str(folder / "data"), "-U", settings["POSTGRES_USER"]]
        options = [f"--pwfile={folder / 'password'}", *settings["POSTGRES_INITDB_ARGS"].split()]
        done = user.run([*command, *options])
        assert done.returncode == 0, done.stderr
        with (folder / "data" / "pg_hba.conf").open("a") as file:
            file.write(f"host all all all {settings['POSTGRES_HOST_AUTH_METHOD']}\n")
        return folder / "data"

    def _create_database(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        while self.check("database") != 0:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        settings = self.service("database")["environment"]
        createdb = [
            "createdb",
            "--host=127.0.0.1",
            f"--username={settings['POSTGRES_USER']}",
            settings["POSTGRES_DB"],
        ]
        environment = {**self.environment("database"), "PGPASSWORD": self.password()}
        subprocess.run(createdb, env=environment, stdin=subprocess.DEVNULL, check=True, timeout=60)


def make_deployment(folder: Path, data: Path, database_port: int, dashboard_port: int) -> Deployment:
    """Make the secrets and folders.

    Args:
        folder: an empty one, which every user may pass through.
        data: what is mounted on /data.
        database_port: a free one.
        dashboard_port: another.
    """
    for name in ("run", "state", "studies"):
        (folder / name).mkdir()
    subprocess.run([str(_MAKE_SECRETS), str(folder / "secrets")], check=True, capture_output=True, timeout=60)
    translations = {
        "8080": str(dashboard_port),
        "database:5432": f"127.0.0.1:{database_port}",
        "/run/secrets": f"{folder}/secrets",
        "/var/lib/anomalyvfm-opt": f"{folder}/state",
        "/data": str(data),
        "/studies": f"{folder}/studies",
    }
    deployment = Deployment(folder, find_installation(), database_port, dashboard_port, translations)
    for name in ("database_passfile", "worker_passfile", "viewer_passfile"):
        passfile = folder / "secrets" / name
        translated = deployment.translate(passfile.read_text())
        passfile.unlink()
        passfile.write_text(translated)
        passfile.chmod(0o444)
    return deployment
