"""Names of studies and of their siblings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.spec.study_name import Kind, StudyName

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
