"""The user that the embedded PostgreSQL runs as: the caller, or for root (whom it refuses) somebody else."""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalyvfm_opt.errors import EnvironmentMissingError

_UNPRIVILEGED = ("postgres", "nobody")
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "HOME": "/"}  # nobody's PGPORT, LD_LIBRARY_PATH, ...


@dataclass(frozen=True)
class ServerUser:
    """Who owns the cluster's folder and runs the server's processes."""

    uid: int
    gid: int
    name: str
    is_other: bool  # root has to become this user first

    @property
    def is_known(self) -> bool:
        """Whether passwd has an entry for this user; a container may be run as any number."""
        try:
            pwd.getpwuid(self.uid)
        except KeyError:
            return False
        return True

    def run(
        self,
        command: Sequence[str],
        *,
        given: str = "",
        descriptors: Sequence[int] = (),
        timeout_s: float = 180,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as this user, in a session of its own and with nothing else of ours in its hands.

        The own session keeps a Ctrl-C in the caller's terminal from the server; closed descriptors keep
        a shell's `$(...)` from waiting for it.

        Args:
            command: program and arguments.
            given: text for its standard input.
            descriptors: open file descriptors to hand over.
            timeout_s: seconds after which it is killed.

        Raises:
            EnvironmentMissingError: it cannot be started as this user, or does not end.
        """
        try:
            return subprocess.run(  # noqa: S603 - our own commands, without a shell
                list(command),
                input=given,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                cwd="/",
                env=_ENVIRONMENT,
                umask=0o077,
                start_new_session=True,
                pass_fds=tuple(descriptors),
                user=self.uid if self.is_other else None,
                group=self.gid if self.is_other else None,
                extra_groups=[] if self.is_other else None,
            )
        except OSError as error:
            message = f"cannot run {command[0]} as user {self.name}: {error.strerror}"
        except subprocess.TimeoutExpired:
            message = f"{command[0]} did not end within {timeout_s:.0f} s"
        raise EnvironmentMissingError(message, "or use another PostgreSQL: ANOMALYVFM_OPT_DB_URL")

    def can_enter(self, folder: Path, descriptors: Sequence[int] = ()) -> bool:
        """Return whether this user may reach files in a folder."""
        if not self.is_other:
            return True
        probe = ["/bin/sh", "-c", 'test -x "$0"', str(folder)]
        return self.run(probe, descriptors=descriptors).returncode == 0


def choose_server_user(folder: Path) -> ServerUser:
    """Return the caller; for root the owner of an existing cluster's folder, else `postgres`, else `nobody`.

    Args:
        folder: the cluster's folder, there or not.

    Raises:
        EnvironmentMissingError: the folder belongs to somebody else, or root finds no unprivileged user.
    """
    caller = os.geteuid()
    owner = folder.stat() if folder.exists() else None
    if caller != 0:
        if owner is not None and owner.st_uid != caller:
            raise EnvironmentMissingError(
                f"{folder} belongs to user {_name(owner.st_uid)}, not to {_name(caller)}",
                "set ANOMALYVFM_OPT_HOME to a folder of your own, or ANOMALYVFM_OPT_DB_URL",
            )
        return ServerUser(caller, os.getegid(), _name(caller), is_other=False)
    if owner is not None and owner.st_uid != 0:
        return ServerUser(owner.st_uid, owner.st_gid, _name(owner.st_uid), is_other=True)
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(entry.pw_uid, entry.pw_gid, name, is_other=True)
    raise EnvironmentMissingError(
        f"PostgreSQL refuses to run as root, and this host has no user {' or '.join(_UNPRIVILEGED)}",
        "make one (useradd --system postgres), run as an ordinary user, or set ANOMALYVFM_OPT_DB_URL",
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
