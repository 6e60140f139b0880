"""optuna-dashboard on the study store: cached, read-only unless told otherwise, behind a token for a team."""

import re
import secrets
import socket
from pathlib import Path

from anomalyvfm_opt.durable import written_whole
from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.files import read_plain
from anomalyvfm_opt.report.guard import Application, Guard
from anomalyvfm_opt.report.pages import PagedStorage, make_paged
from anomalyvfm_opt.store.direct import DirectStorage

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")  # what stands in a URL as it is
_MOST_TOKEN_BYTES = 4096


def make_application(storage: DirectStorage, token: str | None = None, *, may_write: bool = False) -> Application:
    """Return the dashboard as a WSGI application, with the guard before it and a cache behind it.

    A finished trial is read once. Without the cache, each refresh of a page reads all trials of its study. A large
    study comes page by page, see `report/pages.py`.

    Args:
        storage: of the study store; a role that may only read is enough.
        token: that is asked for; None for none.
        may_write: whether studies may be changed and deleted.
    """
    return Guard(make_paged(PagedStorage(storage)), token, may_write=may_write)


def read_token(path: Path) -> str:
    """Return the token in a file that its owner alone may read.

    Raises:
        UsageError: it is not there, others may read it, or it holds no token.
    """
    try:
        mode, text = path.stat().st_mode, read_plain(path, _MOST_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"--token-file {path} cannot be read: {reason}", _how_to_make(path)) from None
    if mode & 0o077:
        raise UsageError(f"--token-file {path}: others may read it (mode {mode & 0o777:04o})", f"chmod 600 {path}")
    if not _TOKEN.fullmatch(text):
        raise UsageError(
            f"--token-file {path}: one line of 16 or more letters, digits and -._~ is needed", _how_to_make(path)
        )
    return text


def keep_token(path: Path) -> str:
    """Return the token in a file of the state folder, which is made the first time.

    Raises:
        EnvironmentMissingError: it cannot be written.
        UsageError: what is there will not do.
    """
    if not path.exists():
        try:
            with written_whole(path, 0o600) as file:
                file.write(f"{secrets.token_urlsafe(32)}\n".encode())
        except OSError as error:
            raise EnvironmentMissingError(
                f"the dashboard's token cannot be kept in {path}: {error.strerror}",
                "free space there, or give a token with --token-file",
            ) from None
    return read_token(path)


def _how_to_make(path: Path) -> str:
    return f"make one: (umask 077 && openssl rand -hex 32 > {path})"


def check_address(host: str, port: int) -> None:
    """See that an address is one of this host's and that the port is free there.

    Raises:
        EnvironmentMissingError: it is not.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise EnvironmentMissingError(
            f"cannot listen on {format_address(host, port)}: {error.strerror}",
            "choose another with --port, or --listen",
        ) from None


def format_address(host: str, port: int) -> str:
    """`HOST:PORT` as URLs spell it: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
