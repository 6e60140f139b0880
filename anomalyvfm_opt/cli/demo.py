"""`demo`: the whole path on demo data and the embedded database."""

from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.cli.tables import print_parts

if TYPE_CHECKING:
    from pathlib import Path

    from anomalyvfm_opt.report.summary import StudySummary
    from anomalyvfm_opt.store.store import Store

_QUICK = "grass"  # the category that is --quick's
_DASHBOARD = "look at the trials: anomalyvfm-opt dashboard"


def demo(
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the demo's studies and start anew.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Worker processes.")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="One category, in studies of its own.")] = False,
) -> None:
    """Search three demo categories with LoRA on real ImageNet features, and judge the result: minutes on a CPU.

    It uses the embedded PostgreSQL in the state folder. Run again, it continues, or says that it is finished.
    """
    from anomalyvfm_opt.cli.judging.trainings import continued_by
    from anomalyvfm_opt.report.results_text import describe_results
    from anomalyvfm_opt.report.summary import summarise
    from anomalyvfm_opt.spec.load import load_spec
    from anomalyvfm_opt.spec.shipped import find_shipped
    from anomalyvfm_opt.store.home import state_folder
    from anomalyvfm_opt.store.selection import select_studies
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.study.demo import choose_category, delete_searches, prepare_demo

    spec = load_spec(find_shipped("demo.yaml"))
    if quick:
        spec = choose_category(spec, _QUICK)
    store = open_store(_use_embedded())
    command = "anomalyvfm-opt demo" + (" --quick" if quick else "")
    if fresh:
        delete_searches(store, spec.name)
    folder = state_folder() / "demo"
    prepare_demo(store, spec, folder, say)

    def collect() -> "list[StudySummary]":
        return [summarise(store, r) for r in select_studies(store.engine, [spec.name])]

    with continued_by(command):
        if not all(summary.state == "finished" for summary in collect()):
            _run_workers(store, spec.name, folder, workers)
        print_parts(describe_results(collect()))
        _confirm(store, spec.name, workers)
    say(f"the demo is finished; `{command} --fresh` starts anew")
    say(_DASHBOARD)
    if quick:
        say("all three categories: anomalyvfm-opt demo")


def _confirm(store: "Store", name: str, workers: int) -> None:
    """Race, confirm and judge; what is done already is not done again."""
    from anomalyvfm_opt.cli.judging.trainings import carry_out, take_steps
    from anomalyvfm_opt.cli.judging.verdict import print_verdict
    from anomalyvfm_opt.verdict.campaign import Campaign
    from anomalyvfm_opt.verdict.judge_stored import judge_stored
    from anomalyvfm_opt.verdict.next_step import Wishes

    campaign = Campaign(store, name, Wishes())
    for _ in take_steps(campaign):
        carry_out(store, campaign, workers)
    print_verdict(judge_stored(store, name))


def _use_embedded() -> str:
    from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
    from anomalyvfm_opt.store.home import state_folder

    cluster = EmbeddedCluster(state_folder())
    cluster.up()
    return cluster.reach()


def _run_workers(store: "Store", study: str, folder: "Path", count: int) -> None:
    """Run workers side by side, one share of the cores each."""
    from anomalyvfm_opt.cli.fleet.run import run_fleet
    from anomalyvfm_opt.store.selection import select_left
    from anomalyvfm_opt.worker.slots import lay_out

    slots, arguments = lay_out(count, "auto")
    arguments += ["--study", study, "--data", str(folder), "--db", store.url]
    exit_code = run_fleet(store, lambda: select_left(store.engine, [study]), slots, arguments)
    if exit_code:
        raise typer.Exit(exit_code)
