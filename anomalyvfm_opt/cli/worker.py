"""`worker`: processes that pull trials."""

import sys
from typing import Annotated

import typer

from anomalyvfm_opt.cli.fleet.crew import drain, list_all, reap_all
from anomalyvfm_opt.cli.fleet.launch import launch
from anomalyvfm_opt.cli.groups import make_group
from anomalyvfm_opt.cli.options import (
    CacheOption,
    DatabaseOption,
    DataOption,
    DeviceOption,
    DrainSecondsOption,
    GraceOption,
    HangOption,
    KeepRunningOption,
    MaxTrialsOption,
    OutageOption,
    ThreadsOption,
    WeightsOption,
)
from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.cli.studies import AnyStudiesArgument, StudyOption
from anomalyvfm_opt.words import counted

app = make_group("Workers pull trials from the study store and run them.")


def run_worker(
    studies: AnyStudiesArgument = None,
    study: StudyOption = None,
    data: DataOption = None,
    max_trials: MaxTrialsOption = None,
    keep_running: KeepRunningOption = False,
    weights: WeightsOption = None,
    cache_gib: CacheOption = 64.0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    grace_s: GraceOption = 60.0,
    hang_s: HangOption = 1800.0,
    drain_s: DrainSecondsOption = 30.0,
    outage_s: OutageOption = 900.0,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Unique name of this worker; else from host and process."),
    ] = None,
    db: DatabaseOption = None,
) -> None:
    """Pull trials until there is nothing to do; start as many workers as you like, on any machine.

    Ctrl-C, SIGTERM, SIGUSR2 and a closed terminal (SIGHUP) give the running trial back (exit 130 or 143); another
    worker takes it up from its last epoch. A second Ctrl-C ends at once.
    """
    from anomalyvfm_opt.cli.progress_line import ProgressLine
    from anomalyvfm_opt.collector import collect_as_usual
    from anomalyvfm_opt.data.arrays import open_arrays
    from anomalyvfm_opt.model.device import choose_device
    from anomalyvfm_opt.store.budget import count_usages
    from anomalyvfm_opt.store.home import state_folder
    from anomalyvfm_opt.store.rights import check_may
    from anomalyvfm_opt.store.selection import select_families, select_left
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.trial.outcome import InterruptedTrialError
    from anomalyvfm_opt.trial.pulse import StopRequest, Times
    from anomalyvfm_opt.worker.device import limit_threads
    from anomalyvfm_opt.worker.next_step import name_next_step
    from anomalyvfm_opt.worker.serve import Worker, WorkerOptions, invent_name
    from anomalyvfm_opt.worker.signals import heed_signals
    from anomalyvfm_opt.worker.telling import count_outcomes

    collect_as_usual()
    store = open_store(db)
    check_may(store.engine, "run trials")
    _ = store.sampling_storage  # Optuna's tables are looked at before any trial is taken
    names = [*(studies or []), *(study or [])]
    if not select_families(store.engine, names) and not keep_running:
        say("no studies yet; create one: anomalyvfm-opt study create SPEC --data DIR")
        return
    n_threads = limit_threads(threads)
    arrays = open_arrays(state_folder(), cache_gib)
    times = Times(grace_s, hang_s, drain_s, outage_s)
    is_placed = name is not None  # by an engine, which goes on itself
    on, name = choose_device(device), name or invent_name()
    options = WorkerOptions(data, weights, arrays, max_trials, keep_running, on, times, name, bool(names))
    say(f"worker {options.name} on {options.device}, {counted(n_threads, 'thread')}")
    stop = StopRequest()
    heed_signals(stop)
    line = ProgressLine(is_in_place=sys.stderr.isatty())
    worker = Worker(store, options, lambda: select_left(store.engine, names), stop, line.say, line.show)
    try:
        worker.run()
    except InterruptedTrialError as interruption:
        say(f"worker stopped: {count_outcomes(worker.ended)}")
        raise typer.Exit(interruption.exit_code) from None
    finally:
        line.close()
    say(f"worker done: {count_outcomes(worker.ended)}")
    if not is_placed and (step := name_next_step(select_left(store.engine, names), count_usages(store.engine))):
        say(f"next: {step}")


for _name, _command in (
    ("run", run_worker),
    ("launch", launch),
    ("list", list_all),
    ("drain", drain),
    ("reap", reap_all),
):
    app.command(_name)(_command)
