"""A function's docstring begins with a verb, so that it means something where only its first line is shown."""

import ast
from pathlib import Path

import pytest

import anomalyvfm_opt

_PACKAGE = Path(anomalyvfm_opt.__file__).parent
_NO_VERBS = frozenset(
    [
        *(
            "A",
            "All",
            "Also",
            "An",
            "And",
            "As",
            "At",
            "Beside",
            "Between",
            "Both",
            "By",
            "Each",
            "For",
            "From",
            "How",
        ),
        *(
            "If",
            "In",
            "Its",
            "It",
            "Less",
            "More",
            "Most",
            "Names",
            "None",
            "Not",
            "Nothing",
            "Of",
            "On",
            "One",
            "Only",
        ),
        *(
            "Same",
            "Seconds",
            "That",
            "The",
            "Their",
            "These",
            "This",
            "Those",
            "Three",
            "To",
            "Two",
            "Until",
            "Up",
        ),
        *("Values", "What", "When", "Where", "Whether", "Which", "Who", "With", "Without"),
    ]
)


def list_fragments(source: str) -> list[str]:
    """Name each function whose docstring does not begin with a verb; a property is a noun."""
    return [
        f"{node.name}: {text.splitlines()[0]}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        and not any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
        and (text := ast.get_docstring(node))
        and text.split(maxsplit=1)[0] in _NO_VERBS
    ]


@pytest.mark.parametrize("room", sorted({path.relative_to(_PACKAGE).parts[0] for path in _PACKAGE.rglob("*.py")}))
def test_docstrings_of_functions_are_sentences(room: str) -> None:
    files = [_PACKAGE / room] if room.endswith(".py") else sorted((_PACKAGE / room).rglob("*.py"))
    found = {path.name: list_fragments(path.read_text(encoding="utf-8")) for path in files}
    assert {name: fragments for name, fragments in found.items() if fragments} == {}


def test_a_fragment_is_found() -> None:
    assert list_fragments('def seeds():\n    """Of its fresh seeds."""') == ["seeds: Of its fresh seeds."]
    assert list_fragments('def seeds():\n    """Return the seeds of its retrainings."""') == []
