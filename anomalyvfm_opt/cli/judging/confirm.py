"""`confirm`: from a finished search to images and seeds that it never saw."""

import time
from typing import Annotated

import typer

from anomalyvfm_opt.cli.options import DatabaseOption, DataOption, DeviceOption, WeightsOption
from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.cli.studies import SpecOrStudyArgument

_POLL_S = 2.0


def confirm(
    name: SpecOrStudyArgument,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", min=0, max=256, metavar="N", help="Run N workers here; 0: workers elsewhere do it."
        ),
    ] = 0,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Without workers here: wait for others, or end at once.")
    ] = True,
    finalist: Annotated[
        int | None,
        typer.Option("--finalist", min=0, metavar="T", help="Confirm this trial instead of the race's winner."),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=3, max=1000, metavar="N", help="Seeds per arm, instead of the spec's."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="A further confirmation: counted as another look, and marked.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is done again.")] = "",
    data: DataOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    db: DatabaseOption = None,
) -> None:
    """Race the best parameter sets with fresh seeds, then judge the winner on the locked images.

    It plans trainings in `S#replicates` and `S#confirm`, which workers serve as any study. Stop it when you like:
    the same call goes on where things are. Finalist, scorers and seeds are written down before the lock is opened.
    """
    from anomalyvfm_opt.cli.judging.trainings import carry_out, continued_by, take_steps
    from anomalyvfm_opt.store.rights import check_may
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.verdict.campaign import Campaign
    from anomalyvfm_opt.verdict.next_step import Wishes

    store = open_store(db)
    check_may(store.engine, "create studies")
    campaign = Campaign(store, name, Wishes(finalist=finalist, seeds=seeds, again=again, reason=reason))
    is_told = False
    for _ in take_steps(campaign):
        if workers:
            with continued_by(f"anomalyvfm-opt confirm {name} --workers {workers}"):
                carry_out(store, campaign, workers, device, data, weights)
        elif not wait:
            say(f"then: anomalyvfm-opt confirm {name}")
            return
        else:
            if not is_told:
                say("waiting until workers have done that, here or elsewhere; Ctrl-C ends the waiting alone")
                say(f"to do it here: anomalyvfm-opt confirm {name} --workers 2")
                is_told = True
            time.sleep(_POLL_S)
    say("confirmed; next:")
    for judged in campaign.list_verdicts():
        say(f"  anomalyvfm-opt verdict {judged}")
