"""`demo`: the whole path on demo data and the embedded database."""

from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.cli.tables import print_parts

if TYPE_CHECKING:
    from pathlib import Path

    from anomalyvfm_opt.report.summary import StudySummary
    from anomalyvfm_opt.spec.model import Spec
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
    from anomalyvfm_opt.report.results_text import describe_results
    from anomalyvfm_opt.report.summary import summarise
    from anomalyvfm_opt.spec.load import load_spec
    from anomalyvfm_opt.spec.shipped import find_shipped
    from anomalyvfm_opt.store.home import state_folder
    from anomalyvfm_opt.store.selection import select_studies
    from anomalyvfm_opt.store.store import open_store

    spec = load_spec(find_shipped("demo.yaml"))
    if quick:
        spec = _choose_one(spec)
    store = open_store(_use_embedded())
    if fresh:
        _delete_studies(store, spec.name)
    folder = state_folder() / "demo"
    _prepare(store, spec, folder)

    def collect() -> "list[StudySummary]":
        return [summarise(store, r) for r in select_studies(store.engine, [spec.name])]

    if not all(summary.state == "finished" for summary in collect()):
        _run_workers(store, spec.name, folder, workers)
    print_parts(describe_results(collect()))
    _confirm(store, spec.name, workers)
    say(_DASHBOARD)
    if quick:
        say("all three categories: anomalyvfm-opt demo")


def _confirm(store: "Store", name: str, workers: int) -> None:
    """Race, confirm and judge; what is done already is not done again."""
    from anomalyvfm_opt.cli.judging.trainings import carry_out, take_steps
    from anomalyvfm_opt.cli.judging.verdict import print_verdict
    from anomalyvfm_opt.store.selection import select_studies
    from anomalyvfm_opt.verdict.campaign import Campaign
    from anomalyvfm_opt.verdict.judge_spec import judge_spec
    from anomalyvfm_opt.verdict.next_step import Wishes
    from anomalyvfm_opt.verdict.read_case import read_cases

    campaign = Campaign(store, name, Wishes())
    for _ in take_steps(campaign):
        carry_out(store, campaign, workers)
    print_verdict(judge_spec(read_cases(store, select_studies(store.engine, [name]))))
    say("the demo is finished; `anomalyvfm-opt demo --fresh` starts anew")


def _use_embedded() -> str:
    from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
    from anomalyvfm_opt.store.home import state_folder

    cluster = EmbeddedCluster(state_folder())
    cluster.up()
    return cluster.reach()


def _choose_one(spec: "Spec") -> "Spec":
    """Return a spec of its own for one category, whose mean is not over three."""
    content = spec.content()
    content["data"]["categories"] = [_QUICK]
    return type(spec).model_validate({**content, "name": f"{spec.name}_quick"})


def _prepare(store: "Store", spec: "Spec", folder: "Path") -> None:
    from anomalyvfm_opt.data.demo import write_demo
    from anomalyvfm_opt.errors import UsageError
    from anomalyvfm_opt.study.creation import create_studies

    write_demo(folder)
    try:
        create_studies(store, spec, folder, [], say=say)
    except UsageError as error:
        raise UsageError(error.message, "anomalyvfm-opt demo --fresh starts anew") from None


def _delete_studies(store: "Store", name: str) -> None:
    from anomalyvfm_opt.spec.study_name import is_search_of
    from anomalyvfm_opt.store.studies import delete_study, list_names

    for study in list_names(store.engine):
        if is_search_of(study, name):  # siblings go with it
            delete_study(store, study)


def _run_workers(store: "Store", study: str, folder: "Path", count: int) -> None:
    """Run workers side by side, one share of the cores each."""
    from anomalyvfm_opt.cli.fleet.run import run_fleet
    from anomalyvfm_opt.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
    from anomalyvfm_opt.store.selection import select_left
    from anomalyvfm_opt.worker.slots import lay_out

    slots, arguments = lay_out(count, "auto")
    arguments += ["--study", study, "--data", str(folder), "--db", store.url]
    exit_code = run_fleet(store, lambda: select_left(store.engine, [study]), slots, arguments)
    if exit_code in (EXIT_INTERRUPTED, EXIT_TERMINATED):
        say("interrupted; `anomalyvfm-opt demo` continues")
    if exit_code:
        raise typer.Exit(exit_code)
