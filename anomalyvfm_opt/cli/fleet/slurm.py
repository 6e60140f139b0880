"""`worker launch --engine slurm`: an array of jobs, each with one worker."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from anomalyvfm_opt.cli.options import ENGINES
from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.errors import EXIT_DONE
from anomalyvfm_opt.launch.slurm_request import DEFAULT_TIME, Request
from anomalyvfm_opt.words import counted

TimeOption = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="T",
        rich_help_panel=ENGINES,
        help=f"Slurm: limit of a job, as of sbatch; else {DEFAULT_TIME}.",
    ),
]
PartitionOption = Annotated[
    str | None,
    typer.Option(
        "--partition", metavar="P", rich_help_panel=ENGINES, help="Slurm: partition; else the cluster's default."
    ),
]
SbatchOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sbatch",
        metavar="KEY=VALUE",
        rich_help_panel=ENGINES,
        help="Slurm: one more option of sbatch; may be repeated.",
    ),
]


def launch_on_slurm(request: Request, arguments: Sequence[str], is_detached: bool, outage_s: float) -> int:
    """Submit workers; wait for them if not detached.

    Args:
        request: what to ask Slurm for.
        arguments: of each `worker run`.
        is_detached: whether to leave them alone once they are submitted.
        outage_s: how long Slurm may be silent while they are waited for.

    Returns:
        0 if detached or if all workers ended with 0; else the first other exit code, or what we were told.

    Raises:
        UsageError: sbatch refuses what it was asked for.
        EnvironmentMissingError: Slurm does not answer.
    """
    from anomalyvfm_opt.launch.slurm import submit_workers
    from anomalyvfm_opt.launch.slurm_watch import Watch
    from anomalyvfm_opt.store.home import state_folder
    from anomalyvfm_opt.store.url import read_variable

    if "--db" not in arguments and read_variable() is None:
        say("the database is this host's own: jobs on other hosts will not reach it, see docs/slurm.md")
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    folder = state_folder() / "slurm" / name
    array = submit_workers(folder, request, arguments)
    typer.echo(array.job_id)
    say(f"submitted {counted(request.count, 'worker')} as Slurm job {array.job_id}; logs in {folder}")
    if is_detached:
        say(f"see them: anomalyvfm-opt worker list, or squeue --jobs={array.job_id}")
        say(f"end them: anomalyvfm-opt worker drain all, and what does not run yet: scancel {array.job_id}")
        return EXIT_DONE
    return Watch(array.job_id, array.read_codes, folder, outage_s, say).run()
