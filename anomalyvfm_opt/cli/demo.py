"""`demo`: the whole path on demo data and the embedded database."""

from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.output import say

if TYPE_CHECKING:
    from pathlib import Path

    from anomalyvfm_opt.cli.store import Store
    from anomalyvfm_opt.report.summary import StudySummary
    from anomalyvfm_opt.spec.model import Spec

_DASHBOARD = "look at the trials: anomalyvfm-opt dashboard"


def demo(
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the demo's studies and start anew.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Worker processes.")] = 2,
) -> None:
    """Search three demo categories with LoRA on real ImageNet features: minutes on two CPU cores.

    It uses the embedded PostgreSQL in the state folder. Run again, it continues, or says that it is finished.
    """
    from anomalyvfm_opt.cli.results import print_results
    from anomalyvfm_opt.cli.selection import select_studies
    from anomalyvfm_opt.cli.store import open_store
    from anomalyvfm_opt.report.summary import summarise
    from anomalyvfm_opt.spec.load import load_spec
    from anomalyvfm_opt.spec.shipped import find_shipped
    from anomalyvfm_opt.store.home import state_folder

    spec = load_spec(find_shipped("demo.yaml"))
    store = open_store(_use_embedded())
    if fresh:
        _delete_studies(store, spec.name)
    folder = state_folder() / "demo"
    _prepare(store, spec, folder)

    def collect() -> "list[StudySummary]":
        return [summarise(store.storage, store.engine, r) for r in select_studies(store.engine, [spec.name])]

    if all(summary.state == "finished" for summary in collect()):
        say("the demo is finished; `anomalyvfm-opt demo --fresh` starts anew")
    else:
        _run_workers(spec.name, folder, workers)
    print_results(collect())
    say(_DASHBOARD)


def _use_embedded() -> str:
    from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
    from anomalyvfm_opt.store.home import state_folder

    cluster = EmbeddedCluster(state_folder())
    cluster.up()
    return cluster.url()


def _prepare(store: "Store", spec: "Spec", folder: "Path") -> None:
    from anomalyvfm_opt.cli.creation import create_studies
    from anomalyvfm_opt.data.demo import write_demo
    from anomalyvfm_opt.errors import UsageError

    write_demo(folder)
    try:
        create_studies(store, spec, folder, [])
    except UsageError as error:
        raise UsageError(error.message, "anomalyvfm-opt demo --fresh starts anew") from None


def _delete_studies(store: "Store", name: str) -> None:
    from anomalyvfm_opt.store.studies import delete_study, list_names

    for study in list_names(store.engine):
        if study.startswith(f"{name}/"):
            delete_study(store.storage, study)


def _run_workers(study: str, folder: "Path", count: int) -> None:
    """Run workers side by side, one share of the cores each; what ends us is passed on to them."""
    import signal
    import subprocess
    import sys

    from anomalyvfm_opt.cli.cores import share_cores
    from anomalyvfm_opt.errors import EXIT_INTERRUPTED, EXIT_TERMINATED

    command = [sys.executable, "-m", "anomalyvfm_opt", "worker", "run", "--study", study]
    command += ["--data", str(folder), "--threads", str(share_cores(count)), "--db", _use_embedded()]
    processes: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: object) -> None:
        for process in processes:
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    for _ in range(count):
        # a process group of its own, so that Ctrl-C reaches a worker once: a second time would end it at once
        processes.append(subprocess.Popen(command, process_group=0))  # noqa: S603 - our own program
    codes = [process.wait() for process in processes]
    for code in codes:
        if code in (EXIT_INTERRUPTED, EXIT_TERMINATED):
            say("interrupted; `anomalyvfm-opt demo` continues")
        if code:
            raise typer.Exit(code if code > 0 else 128 - code)
