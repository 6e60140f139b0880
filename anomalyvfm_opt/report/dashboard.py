"""optuna-dashboard on the study store."""

import ipaddress
import socket

from optuna.storages import RDBStorage

from anomalyvfm_opt.errors import EnvironmentMissingError


def serve_dashboard(storage: RDBStorage, host: str, port: int) -> None:
    """Serve the dashboard until interrupted.

    Args:
        storage: of the study store.
        host: address to listen on, seen to be free by `check_address`. The dashboard has no authentication:
            one that other hosts reach opens the studies to all of them.
        port: the same of the port.
    """
    from optuna_dashboard import run_server

    run_server(storage, host=host, port=port)


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
            "choose another with --port, or --host",
        ) from None


def is_loopback(host: str) -> bool:
    """Whether only this host can reach that address of its own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def format_address(host: str, port: int) -> str:
    """`HOST:PORT` as URLs spell it: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
