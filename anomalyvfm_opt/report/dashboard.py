"""optuna-dashboard on the study store."""

import socket

from optuna.storages import RDBStorage

from anomalyvfm_opt.errors import EnvironmentMissingError


def serve_dashboard(storage: RDBStorage, port: int) -> None:
    """Serve the dashboard on 127.0.0.1 until interrupted. It has no authentication, so it stays on this host.

    Raises:
        EnvironmentMissingError: the port is taken.
    """
    from optuna_dashboard import run_server

    check_port(port)
    run_server(storage, host="127.0.0.1", port=port)


def check_port(port: int) -> None:
    """See that a port of 127.0.0.1 is free.

    Raises:
        EnvironmentMissingError: it is not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise EnvironmentMissingError(
                f"cannot listen on 127.0.0.1:{port}: {error.strerror}", "choose another with --port"
            ) from None
