"""What a summary concludes from what was collected, as values, as JSON and as a row of the results."""

from dataclasses import replace
from typing import Any

import pytest

from anomalyvfm_opt.report.summary import FailureSummary, tabulate, to_json
from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.store.budget import Usage
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.study_state import StudyState
from anomalyvfm_opt.verdict.resolution import resolve
from anomalyvfm_opt.verdict.runs import Arm
from tests.unit.report.summaries import BROKEN, DOUBTFUL, NOISE, make_summary, make_trial
from tests.unit.verdict.cases import BETTER, make_run, make_study


@pytest.mark.parametrize(
    ("complete", "held", "set_state", "state"),
    [
        (5, 0, "active", "active"),
        (6, 0, "active", "finished"),
        (6, 0, "stopped", "finished"),
        (5, 1, "active", "active"),  # the last ticket is out
        (4, 0, "paused", "paused"),
    ],
)
def test_a_study_is_finished_when_no_ticket_is_left_and_none_is_out(
    complete: int, held: int, set_state: Any, state: str
) -> None:
    usage = Usage(complete=complete, pruned=0, failed=0, running=held, waiting=0, held=held, budget=6)
    assert make_summary(usage=usage, set_state=StudyState(set_state, "")).state == state


def test_what_could_be_seen_follows_from_scenes_seeds_and_categories_judged_together() -> None:
    alone = make_summary(noise=NOISE).could_see
    expected = resolve(10, 12, 1, seed_sd=0.01, seeds=4, min_gain=0.01, confidence=0.95)
    assert expected is not None
    assert alone == pytest.approx(expected.smallest_gain)
    among_many = make_summary(noise=NOISE, record=replace(make_study(), judged=7)).could_see
    not_known = make_summary(noise=NOISE, record=replace(make_study(), judged=None)).could_see
    assert among_many is not None
    assert alone is not None
    assert among_many > alone == not_known


@pytest.mark.parametrize("changes", [{"noise": None}, {"scenes": None}, {"scenes": (1, 12)}])
def test_without_noise_or_scenes_nobody_knows_what_could_be_seen(changes: dict[str, Any]) -> None:
    assert make_summary(**{"noise": NOISE, **changes}).could_see is None


def test_a_trial_is_unsound_by_a_broken_finding_and_listed_once() -> None:
    findings = [(5, BROKEN), (2, DOUBTFUL), (3, BROKEN), (5, BROKEN)]
    assert make_summary(findings=findings).list_unsound() == [3, 5]
    assert [make_trial(1, 0.9, *found).is_unsound for found in ((), (DOUBTFUL,), (DOUBTFUL, BROKEN))] == [
        False,
        False,
        True,
    ]


def test_a_row_shows_every_reference_and_the_best_with_its_change() -> None:
    (row,) = tabulate([make_summary(best=make_trial(2, 0.86, parameters=BETTER))])
    assert tuple(vars(row).values()) == (
        "tile",
        "0.7000",
        None,  # heads are not among this spec's references
        "0.8000",
        "-",  # neither is v1.2
        "0.8600",
        "+0.0600",
        "-",
        "R4 / A8 / 10",
        "33/33/33",
        "ensemble",
        "12.3",
    )


@pytest.mark.parametrize(
    ("best", "change"),
    [(0.8496, "+0.0496 (noise)"), (0.8498, "+0.0498"), (0.7504, "-0.0496 (noise)"), (0.70, "-0.1000")],
)
def test_a_change_that_one_more_seed_could_make_is_noise(best: float, change: str) -> None:
    (row,) = tabulate([make_summary(best=make_trial(2, best), noise=NOISE)])
    assert (row.change, row.noise) == (change, "±0.0497")


def test_a_reference_that_equals_another_names_it_and_one_that_cannot_be_trusted_has_no_number() -> None:
    references = {FROZEN: None, "v1.1": make_trial(1, 0.8, BROKEN), "v1.2": None}
    (row,) = tabulate([make_summary(references=references, same_as={"v1.2": "v1.1"})])
    assert (row.frozen, row.v1_1, row.v1_2, row.change) == ("-", "unsound", "= v1.1", "-")


def test_a_study_without_a_trial_is_a_row_of_dashes() -> None:
    (row,) = tabulate([make_summary(references={FROZEN: None, "v1.1": None}, best=None)])
    assert set(vars(row).values()) == {"tile", "-", None}


def test_the_frozen_network_may_be_the_best_and_has_no_mix() -> None:
    (row,) = tabulate([make_summary(best=make_trial(0, 0.9, parameters=None))])
    assert (row.best, row.setting, row.mix, row.change) == ("0.9000", "frozen", "-", "+0.1000")


def test_json_counts_what_is_used_and_shows_alpha_beside_the_parameters() -> None:
    failures = [FailureSummary(3, "diverged", "nan", BETTER), FailureSummary(4, "lost", "gone", None)]
    shown = to_json(make_summary(failures=failures, findings=[(1, DOUBTFUL)], noise=NOISE))
    assert shown["budget"] == {"trials": 6, "used": 4}
    assert shown["references"]["v1.1"] == {"number": 1, "value": 0.8}
    assert (shown["best"]["number"], shown["best"]["params"]["rank"], shown["best"]["params"]["alpha"]) == (
        2,
        16,
        32,
    )
    assert [failure["params"].get("alpha") for failure in shown["failures"]] == [8, None]
    assert shown["findings"] == [{"number": 1, "check": "flat_loss", "severity": "doubtful", "message": "flat"}]
    assert (shown["split"]["search_images"], shown["split"]["lock_images"]) == (20, 22)
    assert shown["noise"]["least_difference"] == pytest.approx(0.049683, abs=1e-6)
    bare = to_json(make_summary(best=None, images={}))
    assert (bare["best"], bare["noise"], bare["split"]["lock_images"], bare["arms"]) == (None, None, 0, {})


def test_json_tells_of_a_siblings_arms_what_became_of_each_retraining() -> None:
    runs = [make_run(Planned("trial 4", BETTER, seed)) for seed in range(4)]
    waiting, failed = (replace(runs[0], is_done=False, outcome=how) for how in (None, "lost"))
    shown = to_json(make_summary(arms=(Arm("trial 4", BETTER, (*runs, waiting, failed)),)))
    assert shown["arms"] == {"trial 4": {"planned": 6, "complete": 4, "failed": 1}}
