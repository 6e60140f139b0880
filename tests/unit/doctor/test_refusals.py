"""What a worker would be refused for, told of one study after the other."""

from dataclasses import replace

import pytest

from anomalyvfm_opt.doctor.check import Status, fail
from anomalyvfm_opt.doctor.joining import _collect, _count, _fail
from anomalyvfm_opt.errors import AnomalyVFMOptError, BadDataError, EnvironmentMissingError
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.worker.joining import check_joinable
from tests.unit.verdict.cases import make_study

SOUND, CHANGED, FOREIGN = (make_study(f"x/{name}") for name in ("can", "tile", "vial"))
CHANGED = replace(CHANGED, is_spec_intact=False)
FOREIGN = replace(FOREIGN, method=FOREIGN.method + 1)


def test_each_study_that_is_refused_is_named_and_the_others_are_looked_at_all_the_same() -> None:
    found = _collect([CHANGED, SOUND, FOREIGN], check_joinable)
    assert list(found) == ["x/tile", "x/vial"]
    assert "somebody changed the stored one" in found["x/tile"].message
    assert _collect([SOUND], check_joinable) == {}


def test_what_is_no_refusal_is_not_taken_for_one() -> None:
    def look(record: StudyRecord) -> None:
        raise KeyError(record.name)

    with pytest.raises(KeyError, match="x/can"):
        _collect([SOUND], look)


@pytest.mark.parametrize(
    ("problems", "detail", "fix"),
    [
        ({"x/can": BadDataError("masks differ", "restore them")}, "masks differ", "restore them"),
        ({"x/can": BadDataError("masks differ")}, "masks differ", "correct that, then repeat"),
        (
            {
                "x/can": EnvironmentMissingError("no folder", "mount it"),
                "x/tile": BadDataError("masks differ", "restore them"),
                "x/vial": BadDataError("no such image"),
            },
            "no folder; and so for x/tile, x/vial",
            "mount it",
        ),
    ],
)
def test_the_first_reason_is_told_in_full_and_who_else_has_one_by_name(
    problems: dict[str, AnomalyVFMOptError], detail: str, fix: str
) -> None:
    assert _fail(problems) == fail(detail, fix)
    assert _fail(problems).status is Status.FAIL


def test_one_study_is_not_studies() -> None:
    assert [_count([SOUND] * count) for count in range(3)] == ["0 studies", "1 study", "2 studies"]
