"""A plan that somebody changed is named, with what to do."""

import pytest

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.waiting import _read_key


def test_a_plan_has_a_key() -> None:
    assert _read_key('{"round": 1, "arm": "baseline", "parameters": null, "seed": 7}') == (1, "baseline", 7)


@pytest.mark.parametrize("changed", ["not JSON", "[]", "{}", "7"])
def test_a_plan_that_cannot_be_read(changed: str) -> None:
    with pytest.raises(EnvironmentMissingError, match="cannot be read any more") as found:
        _read_key(changed)
    assert changed in found.value.message
    assert "call `confirm` again" in found.value.hint
