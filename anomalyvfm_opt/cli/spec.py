"""`spec`: check a spec file."""

from pathlib import Path
from typing import Annotated

import typer

from anomalyvfm_opt.cli.output import say

app = typer.Typer(no_args_is_help=True, help="Spec files: what to search, on what, for how much.")


@app.command()
def check(files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Spec files.")]) -> None:
    """Check spec files; every mistake is shown as file:line:col: path: message."""
    from anomalyvfm_opt.errors import SpecError
    from anomalyvfm_opt.spec.load import load_spec

    mistakes = []
    for file in files:
        try:
            spec = load_spec(file)
        except SpecError as error:
            mistakes.append(str(error))
        else:
            references = ", ".join(spec.references) or "no references"
            say(f"{file}: ok: {spec.name}, {spec.search.trials} trials a category with {references}")
    if mistakes:
        raise SpecError("\n".join(mistakes))
