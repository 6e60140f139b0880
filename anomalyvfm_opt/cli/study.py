"""`study`: plan, create, list, show, best, pause, resume, stop, export, import, delete."""

import shlex
import sys
from typing import Annotated

import typer

from anomalyvfm_opt.cli.groups import make_group
from anomalyvfm_opt.cli.options import (
    CacheOption,
    CategoryOption,
    DatabaseOption,
    JsonOption,
    NewDataOption,
    SpecArgument,
    WeightsOption,
)
from anomalyvfm_opt.cli.output import print_json, say
from anomalyvfm_opt.cli.pausing import pause, resume, stop
from anomalyvfm_opt.cli.plan import plan
from anomalyvfm_opt.cli.studies import AnyStudiesArgument, StudiesArgument, StudyArgument
from anomalyvfm_opt.cli.tables import print_grid, print_parts
from anomalyvfm_opt.cli.transfer import export_one, import_one

app = make_group("Studies: one spec x one category.")


def create(
    file: SpecArgument,
    data: NewDataOption = None,
    category: CategoryOption = None,
    weights: WeightsOption = None,
    cache_gib: CacheOption = 64.0,
    db: DatabaseOption = None,
) -> None:
    """Create one study for each category of a spec; idempotent: repeating it changes nothing."""
    from anomalyvfm_opt.study.preparation import read_spec

    spec, folder = read_spec(file, data, category or [])
    from anomalyvfm_opt.data.arrays import open_arrays
    from anomalyvfm_opt.store.home import state_folder
    from anomalyvfm_opt.store.rights import check_may
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.study.creation import create_studies

    arrays = open_arrays(state_folder(), cache_gib)
    store = open_store(db)
    check_may(store.engine, "create studies")
    create_studies(store, spec, folder, category or [], arrays, weights, say)
    say(f"next: anomalyvfm-opt worker run {spec.name}   (as many workers as you like)")


def list_all(studies: AnyStudiesArgument = None, db: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List the studies with their state."""
    from anomalyvfm_opt.report.overview import list_overviews, tabulate_overviews
    from anomalyvfm_opt.store.selection import select_families
    from anomalyvfm_opt.store.store import open_store

    store = open_store(db)
    records = sorted(select_families(store.engine, studies or []), key=lambda record: record.name)
    overviews = list_overviews(store, records)
    if as_json:
        print_json({"schema": 1, "studies": [one.to_json() for one in overviews]})
        return
    if not overviews:
        say("no studies yet; create one: anomalyvfm-opt study create SPEC --data DIR")
        return
    print_grid(tabulate_overviews(overviews))


def show(studies: StudiesArgument, db: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show a study: budget, division, references, best trial, and what its synthetic objective is worth.

    A spec's name shows all of its studies.
    """
    from anomalyvfm_opt.errors import UsageError
    from anomalyvfm_opt.report import proxy
    from anomalyvfm_opt.report.results_text import describe_results, describe_study
    from anomalyvfm_opt.report.summary import summarise, to_json
    from anomalyvfm_opt.store.selection import select_studies
    from anomalyvfm_opt.store.store import open_store

    store = open_store(db)
    summaries = [summarise(store, r) for r in select_studies(store.engine, studies)]
    proxies = [proxy.judge_proxy(store, s.record) if s.record.kind == "search" else None for s in summaries]
    if as_json:
        if len(summaries) != 1:
            known = ", ".join(s.record.name for s in summaries)
            raise UsageError(f"--json shows one study, and these are {len(summaries)}", f"name one: {known}")
        judged = proxies[0]
        print_json({**to_json(summaries[0]), "proxy": None if judged is None else proxy.to_json(judged)})
        return
    print_parts(describe_results(summaries))
    for summary, found in zip(summaries, proxies, strict=True):
        print_grid(describe_study(summary, found))


def best(
    name: StudyArgument,
    as_spec: Annotated[
        bool,
        typer.Option("--spec", help="Print a spec that repeats its parameters, as YAML; with --json as JSON."),
    ] = False,
    db: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the best trial of a study whose value can be trusted, or print a spec that repeats it."""
    from anomalyvfm_opt.cli.trial import print_trial
    from anomalyvfm_opt.delivery.choice import read_finalist
    from anomalyvfm_opt.errors import UsageError
    from anomalyvfm_opt.report.summary import summarise
    from anomalyvfm_opt.report.trial_view import find_trial, view_trials
    from anomalyvfm_opt.spec.repeat import render_spec, repeat_parameters
    from anomalyvfm_opt.store.selection import select_one
    from anomalyvfm_opt.store.store import open_store

    store = open_store(db)
    study = select_one(store.engine, name)
    found = summarise(store, study).best
    if found is None:
        raise UsageError(f"{name} has no best trial yet", f"see: anomalyvfm-opt trial list {name}")
    if not as_spec:
        views = view_trials(store, study)
        view = find_trial(views, study, found.number)
        if as_json:
            print_json({"schema": 1, "study": study.name, **view.to_json()})
        else:
            print_trial(view, views)
        confirmed = read_finalist(store, study)
        if confirmed and confirmed[0].parameters != found.parameters:
            say(f"its confirmation judges {confirmed[0].label}, the race's winner: anomalyvfm-opt verdict {name}")
        return
    if found.parameters is None:
        raise UsageError(
            f"the best trial of {name} is {found.number}, the frozen network, which has no parameters to repeat",
            f"the trials that were trained: anomalyvfm-opt trial list {name}",
        )
    spec = repeat_parameters(study.spec, study.category, found.parameters, found.number)
    if as_json:
        print_json(
            {"schema": 1, "study": study.name, "number": found.number, "spec": spec.model_dump(mode="json")}
        )
    else:
        typer.echo(render_spec(spec), nl=False)
        then = f"anomalyvfm-opt study create {spec.name}.yaml --data {shlex.quote(study.data_dir)}"
        say(f"save it as {spec.name}.yaml, then: {then}")


def delete(
    studies: StudiesArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Delete studies with their siblings, trials and scores. It cannot be undone."""
    from anomalyvfm_opt.errors import UsageError
    from anomalyvfm_opt.store.rights import check_may
    from anomalyvfm_opt.store.selection import select_studies
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.store.studies import delete_study, list_names

    store = open_store(db)
    known = list_names(store.engine)  # also those that cannot be read, which nobody else would find
    chosen = [name for name in studies if name in known]
    chosen += [one.name for name in studies if name not in known for one in select_studies(store.engine, [name])]
    doomed = list(dict.fromkeys(chosen))
    check_may(store.engine, "delete studies")
    names = ", ".join(doomed)
    if not yes and not _is_agreed(f"delete {names} with all trials?"):
        raise UsageError(f"{names}: nothing is deleted", "give --yes to delete without being asked")
    for name in doomed:
        delete_study(store, name)
        say(f"deleted {name}")


def _is_agreed(question: str) -> bool:
    """Ask a person; where there is none, or no answer, it is not."""
    try:
        return sys.stdin.isatty() and typer.confirm(question, err=True)
    except typer.Abort:  # the input ended
        typer.echo(err=True)
        return False


for _name, _command in (
    ("plan", plan),
    ("create", create),
    ("list", list_all),
    ("show", show),
    ("best", best),
    ("pause", pause),
    ("resume", resume),
    ("stop", stop),
    ("export", export_one),
    ("import", import_one),
    ("delete", delete),
):
    app.command(_name)(_command)
