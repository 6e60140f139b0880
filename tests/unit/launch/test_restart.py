"""Which exits are started again, and after how long."""

import pytest

from anomalyvfm_opt.launch.restart import Restarts


@pytest.mark.parametrize("code", [0, 2, 130, 143])
def test_what_is_done_or_told_to_stop_or_wrong_is_not_started_again(code: int) -> None:
    restarts = Restarts()
    assert restarts.plan(code, 1.0) is None
    assert restarts.total == 0


@pytest.mark.parametrize("code", [1, 3, -9, -11, 137])
def test_a_crash_is_started_again_with_a_growing_pause_and_not_for_ever(code: int) -> None:
    restarts = Restarts()
    pauses = [restarts.plan(code, 1.0) for _ in range(8)]
    assert pauses == [1, 2, 4, 8, 16, 32, None, None]
    assert restarts.total == 6


def test_a_worker_that_lived_long_begins_the_count_anew() -> None:
    restarts = Restarts()
    for _ in range(4):
        restarts.plan(-9, 1.0)
    assert restarts.plan(-9, 600.0) == 1
    assert restarts.plan(-9, 1.0) == 2
    assert restarts.total == 6
