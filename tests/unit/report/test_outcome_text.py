"""Whether anything beat the baseline, in a sentence."""

from dataclasses import replace
from typing import Any

import pytest

from anomalyvfm_opt.report.outcome_text import describe_outcome
from anomalyvfm_opt.report.summary import tabulate
from anomalyvfm_opt.spec.references import FROZEN
from tests.unit.report.summaries import BROKEN, NOISE, make_summary, make_trial


@pytest.mark.parametrize("best", [make_trial(1, 0.8, reference="v1.1"), make_trial(3, 0.8), make_trial(3, 0.7)])
def test_where_nothing_beat_the_baseline_that_is_said_in_words(best: Any) -> None:
    found = make_summary(best=best, noise=NOISE)
    assert describe_outcome(found) == (
        "tile: nothing beat the baseline v1.1 (0.8000); none of the 2 searched trials did"
    )
    assert tabulate([found])[0].change == ("none" if best.value == 0.8 else "-0.1000")


def test_before_the_search_begins_nothing_was_tried() -> None:
    usage = replace(make_summary().usage, complete=2, failed=0)
    found = make_summary(best=make_trial(1, 0.8, reference="v1.1"), usage=usage)
    assert describe_outcome(found).endswith("; no trial was searched yet")


def test_what_beat_it_is_named_with_its_gain_and_whether_that_is_noise() -> None:
    assert describe_outcome(make_summary()) == "tile: trial 2 is +0.0600 above the baseline v1.1"
    frozen = make_trial(0, 0.82, parameters=None, reference=FROZEN)
    assert describe_outcome(make_summary(best=frozen, noise=NOISE)) == (
        "tile: the reference frozen is +0.0200 above the baseline v1.1,"
        " less than another seed may make (0.0497): noise"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"best": None},
        {"references": {"v1.1": None}},
        {"references": {"v1.1": make_trial(1, 0.8, BROKEN, reference="v1.1")}},
    ],
)
def test_without_a_baseline_that_can_be_trusted_nothing_is_said(changes: dict[str, Any]) -> None:
    assert describe_outcome(make_summary(**changes)) == ""
