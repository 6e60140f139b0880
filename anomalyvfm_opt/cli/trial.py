"""`trial`: list the trials of a study, and show one with all that is known of it."""

from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.groups import make_group
from anomalyvfm_opt.cli.options import DatabaseOption, JsonOption
from anomalyvfm_opt.cli.output import print_json, say
from anomalyvfm_opt.cli.studies import StudyArgument
from anomalyvfm_opt.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomalyvfm_opt.report.trial_view import TrialView

app = make_group("Trials: one fine-tuning run each.")


@app.command("list")
def list_all(name: StudyArgument, db: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List the trials of a study: what each was, how it ended, its value and its setting."""
    from anomalyvfm_opt.report.trial_view import COLUMNS, RIGHT, list_cells, view_trials
    from anomalyvfm_opt.store.selection import select_one
    from anomalyvfm_opt.store.store import open_store

    store = open_store(db)
    study = select_one(store.engine, name)
    views = view_trials(store, study)
    if as_json:
        print_json({"schema": 1, "study": study.name, "trials": [view.to_json() for view in views]})
        return
    print_table(study.name, COLUMNS, [list_cells(view) for view in views], right=RIGHT)
    say(f"all of one: anomalyvfm-opt trial show {study.name} N")


@app.command()
def show(
    name: StudyArgument,
    number: Annotated[
        int, typer.Argument(metavar="N", min=0, help="Number of the trial, as `trial list` has it.")
    ],
    db: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one trial: all of its parameters, values, references beside it, seed, time, worker and findings."""
    from anomalyvfm_opt.report.trial_view import find_trial, view_trials
    from anomalyvfm_opt.store.selection import select_one
    from anomalyvfm_opt.store.store import open_store

    store = open_store(db)
    study = select_one(store.engine, name)
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
    print_table("", (f"{view.study.name} trial {view.trial.number}", ""), list(describe_trial(view, references)))
