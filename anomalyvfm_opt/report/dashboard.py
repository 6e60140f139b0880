"""optuna-dashboard on the study store: cached, read-only unless told otherwise, behind a token for a team."""

import re
import secrets
import socket
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from optuna.storages import RDBStorage

from anomalyvfm_opt.durable import written_whole
from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.report.guard import Application, Guard
from anomalyvfm_opt.store.optuna_private import put_cache_before

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")  # what stands in a URL as it is
_SILENT_S = 60.0


class _Server(ThreadingMixIn, WSGIServer):
    """One thread a request, so that a slow one holds up nobody."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking the network for this host's name, which may take seconds."""
        host, port = str(self.server_address[0]), int(self.server_address[1])
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = host, port
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    """Writes no requests down: there may be a token in one."""

    timeout = _SILENT_S

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def make_application(storage: RDBStorage, token: str | None = None, *, may_write: bool = False) -> Application:
    """Return the dashboard as a WSGI application, with the guard before it and a cache behind it.

    A finished trial is read once. Without the cache, each refresh of a page reads all trials of its study.

    Args:
        storage: of the study store; a role that may only read is enough.
        token: that is asked for; None for none.
        may_write: whether studies may be changed and deleted.
    """
    import optuna_dashboard

    return Guard(optuna_dashboard.wsgi(put_cache_before(storage)), token, may_write=may_write)


def serve_dashboard(application: Application, host: str, port: int) -> None:
    """Serve it until interrupted.

    Args:
        application: from `make_application`.
        host: address to listen on, seen to be free by `check_address`.
        port: the same of the port.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    server_class = type("_Bound", (_Server,), {"address_family": family})
    with server_class((host, port), _Handler) as server:
        server.set_app(application)
        server.serve_forever(poll_interval=0.2)


def read_token(path: Path) -> str:
    """Return the token in a file that its owner alone may read.

    Raises:
        UsageError: it is not there, others may read it, or it holds no token.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="ascii").strip()
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
