"""The invariants can be broken: an invariant that holds of anything says nothing."""

from pathlib import Path

import pytest
from sqlalchemy import text

from tests.chaos.invariants import assert_books_are_right, assert_plan_is_carried_out
from tests.integration.families import Families, Family, plan_looks

_NO_FILES = Path("these trials have no files")


@pytest.fixture
def family(store_url: str) -> Family:
    """Three frozen models that looked at locked images, and trials of a search."""
    family = Families(store_url).found("looked", search={"trials": 1}, references=["frozen"])
    family.search()
    plan_looks(family, 3, parameters=None)
    family.work("confirm")
    return family


def check(family: Family, name: str) -> None:
    opened = family.store
    check_one = assert_plan_is_carried_out if "#" in name else assert_books_are_right
    check_one(opened, name, _NO_FILES)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ("DELETE FROM anomalyvfm_opt.look WHERE seed = 2", "#confirm", "without a look"),
        ("UPDATE anomalyvfm_opt.look SET looked_at = now() WHERE seed = 1", "#confirm", "without a look"),
        ("UPDATE anomalyvfm_opt.study_image SET role = 'locked'", "", "without a look"),
        ("UPDATE anomalyvfm_opt.study SET budget = 4", "#confirm", None),
        ("DELETE FROM trial_user_attributes WHERE key = 'planned' AND trial_id = 3", "#confirm", None),
    ],
)
def test_what_breaks_an_invariant_is_found(family: Family, change: str, kind: str, words: str | None) -> None:
    name = f"{family.name}{kind}"
    check(family, name)
    with family.engine.begin() as connection:
        assert connection.execute(text(change)).rowcount > 0
    with pytest.raises(AssertionError, match=words):
        check(family, name)
