"""`verdict`: was tuning worth it? A sentence first, then the table."""

from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.options import DatabaseOption, JsonOption
from anomalyvfm_opt.cli.output import print_json
from anomalyvfm_opt.cli.studies import SpecOrStudyArgument
from anomalyvfm_opt.cli.tables import print_parts

if TYPE_CHECKING:
    from anomalyvfm_opt.verdict.judge import CategoryVerdict
    from anomalyvfm_opt.verdict.judge_spec import SpecVerdict

_EXIT_CODES = {"ADOPT": 0, "KEEP_BASELINE": 10, "INCONCLUSIVE": 11}


def verdict(
    name: SpecOrStudyArgument,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 0 to adopt, 10 to keep the baseline, 11 if inconclusive.")
    ] = False,
    number: Annotated[
        int | None, typer.Option("--round", min=1, metavar="N", help="Round of confirmation; else the latest.")
    ] = None,
    db: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether the tuned parameters beat the baseline, how sure that is, and what it costs."""
    from anomalyvfm_opt.report.verdict_json import to_json

    found = _judge(name, number, db)
    if as_json:
        print_json(to_json(found))
    else:
        print_verdict(found)
    if exit_code:
        raise typer.Exit(_EXIT_CODES[found.ruling.verdict])


def print_verdict(found: "CategoryVerdict | SpecVerdict") -> None:
    """Print the sentence, the tables, and what there is to doubt."""
    from anomalyvfm_opt.report.verdict_text import describe

    for part in describe(found):
        print_parts([part])
        typer.echo()


def _judge(name: str, number: int | None, db: str | None) -> "CategoryVerdict | SpecVerdict":
    from anomalyvfm_opt.errors import UsageError
    from anomalyvfm_opt.store.selection import select_studies
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.verdict.judge import judge
    from anomalyvfm_opt.verdict.judge_spec import judge_spec
    from anomalyvfm_opt.verdict.read_case import read_case, read_cases

    store = open_store(db)
    studies = select_studies(store.engine, [name])
    if studies[0].kind != "search":
        raise UsageError(f"{name} is a sibling study", f"ask for what it belongs to: {studies[0].family}")
    if name == studies[0].name:
        return judge(read_case(store, studies[0], number))
    return judge_spec(read_cases(store, studies, number))
