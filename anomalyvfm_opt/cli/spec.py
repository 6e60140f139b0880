"""`spec`: check, schema, diff."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.groups import make_group
from anomalyvfm_opt.cli.options import JsonOption
from anomalyvfm_opt.cli.output import print_json, say
from anomalyvfm_opt.cli.tables import print_table
from anomalyvfm_opt.words import counted

if TYPE_CHECKING:
    from anomalyvfm_opt.spec.model import Spec

app = make_group("Spec files: what to search, on what, for how much.")


@app.command()
def check(files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Spec files.")]) -> None:
    """Check spec files; every mistake is shown as file:line:col: path: message."""
    from functools import partial

    from anomalyvfm_opt.model.limits import find_limits_problems
    from anomalyvfm_opt.spec.load import load_specs
    from anomalyvfm_opt.store.home import locate_outlines

    def announce(file: Path, spec: "Spec") -> None:
        references = ", ".join(spec.references) or "no references"
        say(f"{file}: ok: {spec.name}, {counted(spec.search.trials, 'trial')} a category with {references}")

    load_specs(files, partial(find_limits_problems, folder=locate_outlines()), announce)


@app.command()
def schema(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; - is stdout.")] = Path(
        "schema/study.json"
    ),
) -> None:
    """Write the JSON schema of specs, for editors."""
    from anomalyvfm_opt.errors import UsageError
    from anomalyvfm_opt.spec.schema import render_schema

    text = render_schema()
    if str(file) == "-":
        sys.stdout.write(text)
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be written: {error.strerror}", "give another FILE, or - for stdout"
        ) from None
    say(f"{file}: written; a spec names it in its first line: # yaml-language-server: $schema=<path to it>")


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="Spec file.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Spec file.")],
    as_json: JsonOption = False,
) -> None:
    """Show where two specs differ, defaults filled in; descriptions, which change no number, are left out."""
    from anomalyvfm_opt.spec.difference import find_differences
    from anomalyvfm_opt.spec.load import load_specs

    old, new = (spec.content() for spec in load_specs((first, second)))
    found = find_differences(old, new)
    if as_json:
        differences = [{"path": one.path, "a": one.old, "b": one.new} for one in found]
        print_json({"schema": 1, "a": str(first), "b": str(second), "differences": differences})
    elif found:
        print_table(
            "", ("field", str(first), str(second)), [(one.path, one.old_text, one.new_text) for one in found]
        )
    else:
        typer.echo("no difference")
