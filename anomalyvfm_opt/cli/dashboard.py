"""`dashboard`: optuna-dashboard on the study store."""

from typing import Annotated

import typer

from anomalyvfm_opt.cli.options import DatabaseOption
from anomalyvfm_opt.cli.output import say


def dashboard(
    db: DatabaseOption = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on 127.0.0.1.")] = 8080,
) -> None:
    """Serve optuna-dashboard on 127.0.0.1 until Ctrl-C."""
    import signal

    from anomalyvfm_opt.cli.store import open_store
    from anomalyvfm_opt.report.dashboard import check_port, serve_dashboard

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores for what it starts with &
    check_port(port)
    store = open_store(db)
    say(f"dashboard on http://127.0.0.1:{port}/dashboard - it can change and delete studies; Ctrl-C ends it")
    serve_dashboard(store.storage, port)
