"""Passwords and tokens are planted and looked for: in argv, in what is said, in tables, and in every file."""

import gzip
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

import pytest

from anomalyvfm_opt.store.embedded.binaries import find_installation
from tests.integration.external_server import ADMIN, DATABASE, USER, ExternalServer
from tests.integration.process_watch import Watch, watching
from tests.integration.program import CATEGORY, Finished, Program, finish, wait_for, write_spec

WRONG = "not-the-planted-password"
TOKEN = "planted.dashboard.token.0123"  # noqa: S105
STUDY = f"secretive/{CATEGORY}"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="argv of others is read from /proc"),
]


@dataclass
class Record:
    """What the commands said, and where they left files."""

    server: ExternalServer
    folder: Path
    secrets: tuple[str, ...]
    watch: Watch
    said: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**self.server.environment, "ANOMALYVFM_OPT_HOME": str(self.folder / "home")}

    def note(self, what: str, done: Finished) -> Finished:
        self.said[what] = done.stdout + done.stderr
        return done


def run_fleet(program: Program, record: Record) -> None:
    """Two launched workers; one is killed, and the server is restarted under them."""
    launch = ("worker", "launch", "--engine", "local", "--count", "2", "--study", "secretive", "--debug")
    fleet = program.spawn(*launch, **record.environment)
    reported = (
        "SELECT count(*) FROM trial_intermediate_values v JOIN trials t USING (trial_id) WHERE state = 'RUNNING'"
    )
    wait_for(lambda: fleet.poll() is not None or record.server.admin(reported, DATABASE)[0][0] > 0)
    pids = record.server.admin("SELECT pid FROM anomalyvfm_opt.worker WHERE ended_at IS NULL", DATABASE)
    os.kill(pids[0][0], signal.SIGKILL)
    record.server.restart()
    done = record.note("launch", finish(fleet))
    assert done.returncode == 0, done.stderr
    assert "killed by signal 9" in done.stderr


def run_with_mistakes(program: Program, record: Record) -> None:
    """What fails, with tracebacks."""
    wrong = record.folder / "wrong.passfile"
    wrong.write_text(f"*:*:*:*:{WRONG}\n")
    wrong.chmod(0o600)
    for command in (
        ("study", "list"),
        ("worker", "run"),
        ("db", "upgrade"),
        ("doctor",),
        ("dashboard", "--port", "1"),
    ):
        environment = {**record.environment, "PGPASSFILE": str(wrong)}
        done = record.note(f"wrong {command}", finish(program.spawn(*command, "--debug", **environment)))
        assert done.returncode != 0
    assert "wrong password" in record.said["wrong ('study', 'list')"]
    record.server.stop()
    try:
        done = record.note("away", finish(program.spawn("study", "show", STUDY, "--debug", **record.environment)))
    finally:
        record.server.start()
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    in_url = record.server.url.replace(f"{USER}@", f"{USER}:{WRONG}@")
    refused = program.run_here(
        "study", "list", "--debug", **{**record.environment, "ANOMALYVFM_OPT_DB_URL": in_url}
    )
    assert record.note("password in the URL", refused).returncode == 2


def run_dashboard(program: Program, record: Record) -> None:
    """It is asked with the token in the query, in a header, and wrongly."""
    file = record.folder / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    port = str(record.server.port - 1 if record.server.port > 20000 else record.server.port + 1)
    process = program.spawn(
        "dashboard", "--port", port, "--token-file", str(file), "--debug", **record.environment
    )

    def is_open(query: str) -> bool:
        assert process.poll() is None, process.communicate()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{query}", timeout=20) as answer:
                record.said[f"page {query}"] = answer.read().decode() + str(answer.headers)
        except URLError:
            return False
        return True

    wait_for(lambda: is_open(f"?token={TOKEN}"))
    assert not is_open(f"no/such/page?token={TOKEN}x")
    assert not is_open("api/studies")
    process.send_signal(signal.SIGINT)
    record.note("dashboard", finish(process))


@pytest.fixture(scope="module")
def record(program: Program, external_server: ExternalServer, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A study from its creation to its export, with a killed worker and all kinds of mistakes."""
    folder = tmp_path_factory.mktemp("secrets")
    folder.chmod(0o711)
    external_server.empty()
    secrets = (external_server.set_password(USER), WRONG, TOKEN)
    with watching(*secrets) as watch:
        record = Record(external_server, folder, secrets, watch)
        space = {"adapter": ["lora"], "rank": [4], "epochs": {"low": 4, "high": 4}}
        changes = {"training": {"steps_per_epoch": 20}, "search": {"trials": 4, "space": space}}
        spec = write_spec(folder, "secretive", references=["frozen"], **changes)
        data = ("--data", str(program.data), "--category", CATEGORY)
        made = finish(program.spawn("study", "create", str(spec), *data, "--debug", **record.environment))
        assert record.note("create", made).returncode == 0, made.stderr
        run_fleet(program, record)
        for command in (
            ("study", "show", STUDY, "--json"),
            ("worker", "list", "--all", "--json"),
            ("study", "export", STUDY, "-o", str(folder / "export.json.gz")),
            ("doctor", "--json", "--device", "cpu"),
            ("db", "url"),
            ("db", "roles"),
        ):
            record.note(str(command), finish(program.spawn(*command, "--debug", **record.environment)))
        run_with_mistakes(program, record)
        run_dashboard(program, record)
    return record


def test_no_secret_is_in_the_argv_or_environment_of_any_process(record: Record) -> None:
    assert record.watch.looks > 100
    assert record.watch.found == set()


def test_the_watch_sees_what_is_there(record: Record) -> None:
    watch = Watch(("a-secret-in-argv", "a-secret-in-environ"))
    command = [sys.executable, "-c", "import time; time.sleep(30)", "a-secret-in-argv"]
    process = subprocess.Popen(command, env={"X": "a-secret-in-environ"})
    try:
        deadline = time.monotonic() + 20
        while len(watch.found) < 2 and time.monotonic() < deadline:
            watch.look()
    finally:
        process.kill()
        process.wait()
    assert len(watch.found) == 2


def test_no_secret_is_in_what_was_said(record: Record) -> None:
    assert len(record.said) > 15
    assert [what for what, text in record.said.items() if any(secret in text for secret in record.secrets)] == []


def test_no_secret_is_in_a_table(record: Record) -> None:
    """A dump of all tables, and what the server knows of its sessions."""
    dump = subprocess.run(
        [f"{find_installation().folder}/bin/pg_dump", f"--dbname={record.server.url_of(ADMIN, DATABASE)}"],
        env={"PGPASSFILE": str(record.server.passfile)},
        capture_output=True,
        check=True,
    ).stdout
    assert b"secretive" in dump
    assert len(dump) > 10_000
    sessions = str(record.server.admin("SELECT * FROM pg_stat_activity, pg_settings"))
    assert [secret for secret in record.secrets if secret.encode() in dump or secret in sessions] == []


def test_no_secret_is_in_any_file_but_its_own(record: Record) -> None:
    own = {record.folder / "wrong.passfile", record.folder / "token"}
    files = [path for path in record.folder.rglob("*") if path.is_file() and path not in own]
    kinds = {
        path.relative_to(record.folder).parts[1] for path in files if path.is_relative_to(record.folder / "home")
    }
    assert kinds >= {"artifacts", "cache"}, kinds
    leaks = []
    for path in files:
        content = path.read_bytes()
        content += gzip.decompress(content) if path.suffix == ".gz" else b""
        leaks += [path for secret in record.secrets if secret.encode() in content]
    assert leaks == []
