"""How studies are named on the command line: by name, by their spec's name, or by the spec's file."""

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from anomalyvfm_opt.files import expand_home

_SUFFIXES = (".yaml", ".yml")
_MEANS = "by its name (SPEC/CATEGORY), its spec's name, or the spec's file"
Given = TypeVar("Given", str, list[str], None)


def spell(given: Given) -> Given:
    """Return names as the store has them: a spec's file is read for the name of its studies.

    Raises:
        SpecError: a file that is not there, or is no spec.
    """
    if isinstance(given, list):
        return [_spell_one(name) for name in given]
    return given if given is None else _spell_one(given)


def _spell_one(name: str) -> str:
    if Path(name).suffix.lower() not in _SUFFIXES:
        return name
    from anomalyvfm_opt.spec.load import load_spec

    return load_spec(expand_home(Path(name))).name


StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", callback=spell, help=f"A study, {_MEANS}.")]
SpecOrStudyArgument = Annotated[
    str,
    typer.Argument(metavar="STUDY", callback=spell, help=f"A study {_MEANS}; a spec means all of its studies."),
]
StudiesArgument = Annotated[
    list[str], typer.Argument(metavar="STUDY", callback=spell, help=f"Studies, each {_MEANS}.")
]
AnyStudiesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="STUDY", callback=spell, help=f"Studies, each {_MEANS}; else all.")
]
StudyOption = Annotated[
    list[str] | None,
    typer.Option("--study", metavar="STUDY", callback=spell, help="The same as an option; may be repeated."),
]
