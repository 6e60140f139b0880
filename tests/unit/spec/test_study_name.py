"""Names of studies and of their siblings."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import anomalyvfm_opt
from anomalyvfm_opt.spec.study_name import CONFIRM_LIKE, SIBLINGS_LIKE, Kind, StudyName, guess_spec, is_sibling_of

_SPECS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)
_CATEGORIES = st.from_regex(r"[^/#\s][^/#]{0,20}", fullmatch=True)
_KINDS = st.sampled_from(("search", "replicates", "confirm"))


@given(_SPECS, _CATEGORIES, _KINDS)
def test_a_name_is_read_as_it_was_written(spec: str, category: str, kind: Kind) -> None:
    name = StudyName(spec, category, kind)
    assert StudyName.parse(str(name)) == name


@given(_SPECS, _CATEGORIES, _KINDS, _KINDS)
def test_siblings_are_of_one_family_and_have_names_of_their_own(
    spec: str, category: str, kind: Kind, other: Kind
) -> None:
    name = StudyName(spec, category, kind)
    sibling = name.sibling(other)
    assert name.family == sibling.family == f"{spec}/{category}"
    assert (str(name) == str(sibling)) is (kind == other)


def test_what_searches_has_no_suffix() -> None:
    assert str(StudyName("demo", "brick")) == "demo/brick"
    assert str(StudyName("demo", "brick").sibling("confirm")) == "demo/brick#confirm"
    assert StudyName.parse("demo/brick#replicates").kind == "replicates"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "demo",
        "demo/",
        "/brick",
        "demo/brick#",
        "demo/brick#search",
        "demo/brick#confirm#confirm",
        "demo#confirm",
    ],
)
def test_what_is_no_name_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=f"{text!r} is no study's name"):
        StudyName.parse(text)


@given(_SPECS, _CATEGORIES, _KINDS)
def test_siblings_are_known_by_their_names(spec: str, category: str, kind: Kind) -> None:
    name = StudyName(spec, category, kind)
    assert {one.kind for one in name.siblings} == {"replicates", "confirm"}
    assert {one.family for one in name.siblings} == {name.family}
    assert is_sibling_of(str(name), name.family) is (kind != "search")
    like = re.compile(re.escape(SIBLINGS_LIKE).replace("%", ".*"), re.DOTALL)
    assert bool(like.fullmatch(str(name))) is (kind != "search")
    assert bool(re.fullmatch(CONFIRM_LIKE.replace("%", ".*"), str(name), re.DOTALL)) is (kind == "confirm")
    assert guess_spec(str(name)) == guess_spec(spec) == spec


PACKAGE = Path(anomalyvfm_opt.__file__).parent
# Migrations stay as they were; in a password file it begins a comment.
_SPELL_IT = {"study_name.py", "passfile.py"}
OTHERS = sorted(
    path for path in PACKAGE.rglob("*.py") if path.name not in _SPELL_IT and path.parent.name != "versions"
)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_module_spells_a_siblings_name(path: Path) -> None:
    """Docstrings, which are also the help texts of commands, may."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            assert not re.search(r"#(replicates|confirm)|^#$|%#", node.value), f"line {node.lineno}"
