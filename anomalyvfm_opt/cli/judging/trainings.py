"""Run the trainings of a campaign: by workers of this host."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from anomalyvfm_opt.cli.fleet.run import run_fleet
from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, EnvironmentMissingError
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.verdict.campaign import Campaign
from anomalyvfm_opt.words import counted
from anomalyvfm_opt.worker.slots import lay_out


def take_steps(campaign: Campaign) -> Iterator[None]:
    """Take step after step as long as trainings are to be done, and say what each step came to.

    Yields:
        Each time that trainings are to be done: the caller does them, or waits.

    Raises:
        EnvironmentMissingError: a search is not over.
        UsageError: nothing can be confirmed, or a wish contradicts what is written down.
    """
    while True:
        for event in campaign.advance():
            say(event)
        if not campaign.is_open:
            return
        yield


@contextmanager
def continued_by(command: str) -> Iterator[None]:
    """Say what goes on with the work of a `with`, where workers within it were interrupted."""
    try:
        yield
    except typer.Exit as ended:
        if ended.exit_code in (EXIT_INTERRUPTED, EXIT_TERMINATED):
            say(f"interrupted; `{command}` continues")
        raise


def carry_out(
    store: Store,
    campaign: Campaign,
    count: int,
    device: str = "auto",
    data: Path | None = None,
    weights: Path | None = None,
) -> None:
    """Run workers on this host until the trainings that are planned now are done.

    Raises:
        typer.Exit: with the workers' exit code, if that is not 0.
        EnvironmentMissingError: they ended and left the trainings alone.
    """
    slots, arguments = lay_out(count, device)
    arguments += ["--db", store.url]
    for option, path in (("--data", data), ("--weights", weights)):
        arguments += [option, str(path)] if path else []
    for study in campaign.list_open():
        arguments += ["--study", study]
    before = campaign.count_open()
    exit_code = run_fleet(store, campaign.list_siblings, slots, arguments)
    if exit_code:
        raise typer.Exit(exit_code)
    if campaign.count_open() == before:
        raise EnvironmentMissingError(
            f"the workers ended with {counted(before, 'training')} still to be done",
            "their messages above say why; a confirmation that was begun on another kind of device ends there",
        )
