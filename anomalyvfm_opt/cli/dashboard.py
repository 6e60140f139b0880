"""`dashboard`: optuna-dashboard on the study store."""

import platform
from pathlib import Path
from typing import Annotated

import typer

from anomalyvfm_opt.cli.options import DatabaseOption
from anomalyvfm_opt.cli.output import say

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - no address that anybody could open


def dashboard(
    db: DatabaseOption = None,
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            metavar="ADDRESS",
            help="Address of this host to listen on; another than 127.0.0.1 asks for a token.",
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8080,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="File of mode 0600 that holds the token; else one is kept in the state folder.",
        ),
    ] = None,
    allow_write: Annotated[
        bool, typer.Option("--allow-write", help="Let it change and delete studies; else it is read-only.")
    ] = False,
) -> None:
    """Serve optuna-dashboard, read-only and on 127.0.0.1 if not told otherwise, until Ctrl-C."""
    import signal

    from anomalyvfm_opt.collector import collect_as_usual
    from anomalyvfm_opt.report.dashboard import (
        check_address,
        format_address,
        keep_token,
        make_application,
        read_token,
    )
    from anomalyvfm_opt.report.guard import is_loopback
    from anomalyvfm_opt.report.server import serve

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores for what it starts with &
    check_address(listen, port)
    token = read_token(token_file) if token_file is not None else None
    if token is None and not is_loopback(listen):
        from anomalyvfm_opt.store.home import state_folder

        token_file = state_folder() / "dashboard.token"
        token = keep_token(token_file)
    from anomalyvfm_opt.store.store import open_store

    collect_as_usual()
    application = make_application(open_store(db).storage, token, may_write=allow_write)
    may = "it can change and delete studies" if allow_write else "read-only"
    address = format_address(platform.node() if listen in _WILDCARDS else listen, port)
    say(f"dashboard on http://{address}/dashboard - {may}; Ctrl-C ends it")
    if token is not None:
        say(f"it asks for the token in {token_file}: open it once as http://{address}/?token=TOKEN")
    if not is_loopback(listen):
        say("warning: nothing is encrypted: use it in a network that you trust, or behind a proxy with TLS")
    serve(application, listen, port)
