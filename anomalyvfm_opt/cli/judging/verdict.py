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
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.verdict.judge_stored import judge_stored

    found = judge_stored(open_store(db), name, number)
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
