"""How numbers, retries and predictions are put into words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.report.grid import signed
from anomalyvfm_opt.report.ledger_text import judged_to_json, tabulate_judged
from anomalyvfm_opt.store.retries import Retry
from anomalyvfm_opt.verdict.predictions import Judged, Prediction


@given(st.floats(-1, 1))
def test_a_gain_has_its_sign_and_nought_is_never_negative(gain: float) -> None:
    shown = signed(gain)
    assert shown != "-0.0000"
    assert shown[0] in "+-"
    assert float(shown) == pytest.approx(gain, abs=0.5001e-4)


def test_no_gain_is_a_dash() -> None:
    assert signed(None) == "-"


@pytest.mark.parametrize(
    ("retry", "state", "resumed", "words"),
    [
        (None, None, None, "no copy yet"),
        (7, "COMPLETE", None, "trial 7 (complete)"),
        (7, "RUNNING", "[2, 5]", "trial 7 (running), went on after epoch 2, 5"),
    ],
)
def test_a_retry_says_what_became_of_its_trial(
    retry: int | None, state: str | None, resumed: str | None, words: str
) -> None:
    one = Retry(
        study="tiny/brick",
        number=3,
        outcome="lost",
        message="its worker died",
        worker="w1",
        retry=retry,
        retry_state=state,
        resumed=resumed,
    )
    assert one.describe() == f"tiny/brick trial 3 lost: its worker died -> {words}"


def test_a_prediction_stands_beside_its_answer() -> None:
    held = Judged(Prediction("a rule", 0.01), confirmed=0.02, low=0.0, high=0.04)
    missed = Judged(Prediction("a hope", 0.05, "big"), confirmed=-0.01, low=-0.02, high=0.0)
    grid = tabulate_judged({"can": [held, missed]})
    assert grid.rows == [
        ("can", "a rule", "+0.0100", "+0.0200", "hit", "hit", "yes"),
        ("can", "a hope", "+0.0500", "-0.0100", "miss", "miss", "no"),
    ]
    assert all(len(row) == len(grid.columns) for row in grid.rows)
    assert judged_to_json(missed) == {
        "source": "a hope",
        "predicted": 0.05,
        "note": "big",
        "confirmed": -0.01,
        "direction": False,
        "size": False,
        "inside": False,
    }
