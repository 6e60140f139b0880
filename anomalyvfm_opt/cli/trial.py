"""`trial`: list the trials of a study, and show one with all that is known of it."""

from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.options import DatabaseOption, JsonOption
from anomalyvfm_opt.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomalyvfm_opt.report.trial_view import TrialView

app = typer.Typer(no_args_is_help=True, help="Trials: one fine-tuning run each.")
_StudyArgument = Annotated[str, typer.Argument(metavar="S", help="A study, <spec>/<category>, or a sibling.")]


@app.command("list")
def list_all(name: _StudyArgument, db: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List the trials of a study: what each was, how it ended, its value and its setting."""
    from anomalyvfm_opt.report.trial_view import COLUMNS, RIGHT, list_cells, view_trials
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.store.studies import load_study

    store = open_store(db)
    study = load_study(store.engine, name)
    views = view_trials(store, study)
    if as_json:
        print_json({"schema": 1, "study": study.name, "trials": [view.to_json() for view in views]})
        return
    print_table(study.name, COLUMNS, map(list_cells, views), right=RIGHT)
    say(f"all of one: anomalyvfm-opt trial show {study.name} N")


@app.command()
def show(
    name: _StudyArgument,
    number: Annotated[
        int, typer.Argument(metavar="N", min=0, help="Number of the trial, as `trial list` has it.")
    ],
    db: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one trial: all of its parameters, values, references beside it, seed, time, worker and findings."""
    from anomalyvfm_opt.report.trial_view import find_trial, view_trials
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.store.studies import load_study

    store = open_store(db)
    study = load_study(store.engine, name)
    views = view_trials(store, study)
    view = find_trial(views, study, number)
    if as_json:
        print_json({"schema": 1, "study": study.name, **view.to_json()})
    else:
        print_trial(view, views)


def print_trial(view: "TrialView", others: "Sequence[TrialView]") -> None:
    """Print one trial, beside the references among the others."""
    from anomalyvfm_opt.report.trial_view import describe_trial

    references = {one.record.reference: one for one in others if one.record.reference and one.value is not None}
    print_table("", (f"{view.study.name} trial {view.trial.number}", ""), describe_trial(view, references))
