"""Predictions held against what rounds brought in, and which round answers one that is made now."""

from dataclasses import replace

import pytest

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.verdict.judge import judge
from anomalyvfm_opt.verdict.ledger import judge_entries, number_answer
from tests.unit.verdict.cases import make_case, make_prediction, make_study
from tests.unit.verdict.test_judge import draw_scores


def test_a_prediction_is_judged_by_its_own_round_and_open_before_that_is_over() -> None:
    case = make_case(draw_scores(5.0, 4, 1), draw_scores(0.5, 4, 2))
    made = [make_prediction(0.1, 1), make_prediction(0.2, 2), make_prediction(-0.1, 1)]
    entries = judge_entries(made, {1: case.evidence})
    assert [entry.made for entry in entries] == made
    first, second, third = (entry.judged for entry in entries)
    ruling = judge(case).ruling
    assert second is None
    assert first is not None
    assert third is not None
    assert (first.confirmed, first.low, first.high) == (ruling.estimate, ruling.low, ruling.high)
    assert (first.prediction.gain, third.prediction.gain) == (0.1, -0.1)


def test_nothing_is_answered_where_nothing_can_be_said() -> None:
    case = make_case(draw_scores(5.0, 4, 1)[:0], draw_scores(0.5, 4, 2))
    assert [entry.judged for entry in judge_entries([make_prediction(0.1, 1)], {1: case.evidence})] == [None]


def test_the_round_that_is_planned_answers_or_the_first_one() -> None:
    study = make_study()
    assert number_answer(study, last_look=0, last_round=0) == 1
    assert number_answer(study, last_look=0, last_round=3) == 3
    with pytest.raises(UsageError, match="have been opened: a prediction now could know the answer"):
        number_answer(study, last_look=1, last_round=1)
    sibling = replace(study, name="x/tile#confirm")
    with pytest.raises(UsageError, match="is a sibling study"):
        number_answer(sibling, last_look=0, last_round=0)
