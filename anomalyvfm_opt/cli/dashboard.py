"""`dashboard`: optuna-dashboard on the study store."""

from typing import Annotated

import typer

from anomalyvfm_opt.cli.options import DatabaseOption
from anomalyvfm_opt.cli.output import say


def dashboard(
    db: DatabaseOption = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; it asks nobody for a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8080,
) -> None:
    """Serve optuna-dashboard, on 127.0.0.1 if not told otherwise, until Ctrl-C."""
    import signal

    from anomalyvfm_opt.cli.store import open_store
    from anomalyvfm_opt.report.dashboard import check_address, format_address, is_loopback, serve_dashboard

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores for what it starts with &
    check_address(host, port)
    store = open_store(db)
    address = format_address(host, port)
    if not is_loopback(host):
        say(f"warning: whoever reaches {address} can change and delete studies: it asks for no password")
    say(f"dashboard on http://{address}/dashboard - it can change and delete studies; Ctrl-C ends it")
    serve_dashboard(store.storage, host, port)
