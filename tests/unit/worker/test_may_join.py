"""Whether this program may work on a study."""

from dataclasses import replace

import pytest

from anomalyvfm_opt import METHOD
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.worker.joining import check_joinable
from tests.unit.verdict.cases import make_study

STUDY = make_study()


def test_a_study_of_this_method_with_its_own_spec_may_be_joined() -> None:
    check_joinable(replace(STUDY, method=METHOD, is_spec_intact=True))


def test_a_changed_spec_is_refused() -> None:
    with pytest.raises(UsageError, match="somebody changed the stored one"):
        check_joinable(replace(STUDY, is_spec_intact=False))


@pytest.mark.parametrize(("method", "side"), [(METHOD + 1, "newer"), (METHOD - 1, "older")])
def test_another_method_is_left_to_a_worker_of_that_version(method: int, side: str) -> None:
    with pytest.raises(UsageError, match=f"method {method}") as caught:
        check_joinable(replace(STUDY, method=method))
    assert side in caught.value.hint
