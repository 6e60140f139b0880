"""`glossary`: what the words of the tables and the linter's findings mean."""

from typing import Annotated

import typer

from anomalyvfm_opt.cli.tables import print_table


def glossary(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD]...", help="Words or findings; else all of them.")
    ] = None,
) -> None:
    """Say what a word of the tables or a finding of the linter means."""
    from anomalyvfm_opt.report.glossary import look_up

    print_table("", ("word", "meaning"), list(look_up(words or []).items()))
