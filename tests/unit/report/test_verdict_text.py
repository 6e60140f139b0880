"""A verdict in words and tables, of numbers that were worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from anomalyvfm_opt.report.grid import Grid, Part
from anomalyvfm_opt.report.verdict_text import describe
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST
from anomalyvfm_opt.verdict.decide import Need
from anomalyvfm_opt.verdict.judge import CategoryVerdict
from anomalyvfm_opt.verdict.judge_spec import SpecVerdict
from anomalyvfm_opt.verdict.predictions import Judged, Prediction
from tests.unit.report.verdicts import ADOPTED, make_verdict

FOUND = make_verdict()


def find_grid(parts: Sequence[Part], head: str) -> Grid:
    """The only table with a column of this name."""
    (found,) = (part for part in parts if isinstance(part, Grid) and head in part.columns)
    return found


def make_spec_verdict(*categories: CategoryVerdict) -> SpecVerdict:
    return SpecVerdict("x", ADOPTED, FOUND.difference, 0.1234, FOUND.roi, categories)


def test_the_first_sentence_says_what_to_do_and_how_sure_that_is() -> None:
    assert describe(FOUND)[0] == (
        "ADOPT: x/tile. Gain +0.1500 image AUROC, 95 % interval +0.0500 to +0.2500. Adopt the finalist; so it is."
    )


def test_where_nothing_can_be_said_no_gain_is_named() -> None:
    ruling = replace(ADOPTED, verdict="INCONCLUSIVE", action="keep it", estimate=None, low=None, high=None)
    parts = describe(replace(FOUND, ruling=ruling, smallest_gain=None))
    assert parts[0] == "INCONCLUSIVE: x/tile. Keep it."
    assert find_grid(parts, "could see").rows == [
        ("tile", "INCONCLUSIVE", "gain", "-", "-", "-", "10 / 10", "-"),
    ]


def test_the_arms_stand_with_mean_and_spread_of_their_seeds() -> None:
    (row,) = find_grid(describe(FOUND), "seeds").rows
    assert row == (
        "tile",
        "0.9000",  # one model has no spread
        "0.8500 ±0.0707",  # 0.1 / sqrt(2)
        "1.0000 ±0.0000",
        "R4 / A8 / 10",
        "ensemble / ensemble",
        "2 / 2",
        "1.50x",
        "1.00x",
    )


def test_arms_that_are_not_there_or_have_no_model_are_dashes() -> None:
    arms = {name: FOUND.evidence.arms[name] for name in (FINALIST, BASELINE)}
    lost = replace(arms[FINALIST], values=np.empty(0))
    found = replace(FOUND, evidence=replace(FOUND.evidence, arms={**arms, FINALIST: lost}))
    (row,) = find_grid(describe(found), "seeds").rows
    assert row[1:4] == ("-", "0.8500 ±0.0707", "-")
    assert row[6] == "2 / 0"


def test_what_the_search_showed_stands_beside_luck() -> None:
    (row,) = find_grid(describe(FOUND), "shrinkage").rows
    assert row == (
        "tile",
        "5",
        "0.0010",  # of 0.800, 0.801 and 0.802
        "0.0050",  # t of 2 degrees of freedom, 4.303, times the SD times sqrt(4 / 3)
        "+0.0012",  # the best of five normal values lies 1.163 SD above their mean
        "0.9000",
        "0.8050",
        "1.0000",
        "-0.1000",
    )


def test_a_study_without_a_noise_floor_has_dashes_for_it() -> None:
    luck = replace(FOUND.luck, best_of_none=None, confirmed=None)
    (row,) = find_grid(describe(replace(FOUND, noise=None, luck=luck)), "shrinkage").rows
    assert row == ("tile", "5", "-", "-", "-", "0.9000", "0.8050", "-", "-")


@pytest.mark.parametrize(
    ("low", "words"),
    [(0.05, "for +0.1500 AUROC, "), (0.0, "for no gain that could be shown"), (None, "for no gain")],
)
def test_what_was_paid_for_is_a_gain_whose_interval_lies_above_nought(low: float | None, words: str) -> None:
    (line,) = (
        part
        for part in describe(replace(FOUND, ruling=replace(ADOPTED, low=low)))
        if isinstance(part, str) and part.startswith("Cost: ")
    )
    assert line.startswith("Cost: 1.50x the time for +0.1500 AUROC; ")
    assert f"spent 0.0053 CPU-hours {words}" in line  # 19 seconds
    assert line.endswith(" on the confirmation.")


def test_the_mean_of_a_spec_is_the_last_row_and_leads_in_its_name() -> None:
    other = replace(FOUND, evidence=replace(FOUND.evidence, study=replace(FOUND.evidence.study, category="can")))
    parts = describe(make_spec_verdict(FOUND, other))
    assert str(parts[0]).startswith("ADOPT: x, mean over 2 categories. ")
    rows = find_grid(parts, "could see").rows
    assert [row[0] for row in rows] == ["tile", "can", "mean"]
    assert rows[-1] == ("mean", "ADOPT", "gain", "+0.1500", "+0.0500", "+0.2500", "-", "0.123")
    assert str(describe(make_spec_verdict(FOUND))[0]).startswith("ADOPT: x. ")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (FOUND, "The interval is the one that decides. "),
        (
            replace(FOUND, ruling=replace(ADOPTED, judged=3)),
            "The interval is at a level divided by the 3 categories",
        ),
        (make_spec_verdict(FOUND), "The mean decides; each category's interval is at its own level"),
    ],
)
def test_it_is_said_which_interval_decides(found: CategoryVerdict | SpecVerdict, words: str) -> None:
    assert any(isinstance(part, str) and part.startswith(words) for part in describe(found))


def test_predictions_and_doubts_come_last_and_only_where_there_are_any() -> None:
    made = Judged(Prediction("a rule", 0.2), confirmed=0.15, low=0.05, high=0.25)
    plan = replace(FOUND.evidence.plan, chosen_by="Ada")
    doubted = replace(FOUND, predictions=[made], evidence=replace(FOUND.evidence, plan=plan))
    *_, table, doubt, _ = describe(doubted)
    assert isinstance(table, Grid)
    assert table.rows == [("tile", "a rule", "+0.2000", "+0.1500", "hit", "miss", "yes")]
    assert doubt == "x/tile: the finalist was named by Ada, not found by the race"
    assert str(describe(FOUND)[-2]).startswith("Cost: ")


def test_what_comes_next_is_a_detector_of_what_was_ruled_for() -> None:
    assert describe(FOUND)[-1] == "Next: anomalyvfm-opt model export x/tile DIR makes a detector of the finalist."
    kept = replace(ADOPTED, verdict="KEEP_BASELINE", reason="no_gain")
    (one, many) = (make_spec_verdict(*[replace(FOUND, ruling=kept)] * n) for n in (1, 2))
    for found, each in ((one, ""), (many, ", and so for each category")):
        assert describe(replace(found, ruling=kept))[-1] == (
            f"Next: anomalyvfm-opt model export x/tile DIR --baseline makes a detector of the baseline{each}."
        )


def test_what_more_seeds_could_decide_is_named_with_its_command() -> None:
    need = Need(seeds=9, scene_factor=None)
    ruling = replace(ADOPTED, verdict="INCONCLUSIVE", reason="too_few_seeds", need=need)
    said = str(describe(replace(FOUND, ruling=ruling))[-1])
    assert " --baseline makes a detector of the baseline. To decide it: anomalyvfm-opt confirm x/tile" in said
    assert "confirm x/tile --again --seeds 9 --reason TEXT, which is another look" in said
    scenes = replace(ruling, need=Need(seeds=None, scene_factor=2.0))
    assert "confirm" not in str(describe(replace(FOUND, ruling=scenes))[-1])
