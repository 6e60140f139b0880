"""`worker`: processes that pull trials."""

from typing import Annotated

import typer

from anomalyvfm_opt.cli.options import (
    CacheOption,
    DatabaseOption,
    DataOption,
    DeviceOption,
    ThreadsOption,
    WeightsOption,
)
from anomalyvfm_opt.cli.output import say

app = typer.Typer(no_args_is_help=True, help="Workers pull trials from the study store and run them.")


@app.callback()
def _workers() -> None:
    """A callback keeps `run` a subcommand although it is the only one."""


@app.command("run")
def run_worker(
    study: Annotated[
        list[str] | None,
        typer.Option("--study", metavar="S", help="A study, or a spec for all of its studies; else all."),
    ] = None,
    data: DataOption = None,
    max_trials: Annotated[
        int | None, typer.Option("--max-trials", min=1, metavar="N", help="Stop after N trials.")
    ] = None,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Wait for new studies instead of ending.")
    ] = False,
    weights: WeightsOption = None,
    cache_gib: CacheOption = 64.0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    grace_s: Annotated[
        float,
        typer.Option(
            "--grace-s",
            min=1,
            metavar="S",
            envvar="ANOMALYVFM_OPT_GRACE_S",
            help="A worker that is silent for so long has lost its trial to another.",
        ),
    ] = 60.0,
    db: DatabaseOption = None,
) -> None:
    """Pull trials until there is nothing to do; start as many workers as you like, on any machine.

    Ctrl-C or SIGTERM gives the running trial back (exit 130 or 143); another worker takes it up.
    """
    from anomalyvfm_opt.cli.device import choose_device, limit_threads
    from anomalyvfm_opt.cli.selection import select_studies
    from anomalyvfm_opt.cli.serve import Worker, WorkerOptions, count_outcomes
    from anomalyvfm_opt.cli.store import open_store
    from anomalyvfm_opt.cli.workbench import open_arrays
    from anomalyvfm_opt.store.home import state_folder
    from anomalyvfm_opt.trial.outcome import InterruptedTrialError

    store = open_store(db)
    names = study or []
    if not select_studies(store.engine, names) and not keep_running:
        say("no studies yet; create one: anomalyvfm-opt study create SPEC --data DIR")
        return
    n_threads = limit_threads(threads)
    arrays = open_arrays(state_folder(), cache_gib)
    options = WorkerOptions(data, weights, arrays, max_trials, keep_running, choose_device(device), grace_s)
    say(f"worker {options.name} on {options.device}, {n_threads} thread{'s' if n_threads > 1 else ''}")
    worker = Worker(store, options, lambda: select_studies(store.engine, names))
    try:
        worker.run()
    except InterruptedTrialError as stop:
        say(f"worker stopped: {count_outcomes(worker.ended)}")
        raise typer.Exit(stop.exit_code) from None
    say(f"worker done: {count_outcomes(worker.ended)}")
