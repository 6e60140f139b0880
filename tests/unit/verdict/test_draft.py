"""The draft of a confirmation: its winner, its arms, and what is said before the lock is opened."""

from collections.abc import Collection
from dataclasses import replace

import pytest

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST, FROZEN_ARM, ArmPlan, ConfirmationPlan
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.verdict.draft import Circumstances, draft_plan, foretell
from anomalyvfm_opt.verdict.runs import Run
from anomalyvfm_opt.verdict.smoothing import Observed, smooth
from tests.unit.verdict.cases import BETTER, V1_1, make_run, make_study

STUDY = make_study()
OTHER = replace(V1_1, rank=8)
# Mean 0.83 and variance 0.0009; with a noise of 0.01 each keeps 8 / 9 of its distance from the mean.
SMOOTHER = smooth([Observed(1, V1_1, 0.80), Observed(2, OTHER, 0.83), Observed(4, BETTER, 0.86)], noise_sd=0.01)
SEEDS = {
    "v1.1": (V1_1, (0.78, 0.80)),
    FROZEN: (None, (0.7,)),
    "trial 2": (OTHER, (0.81, 0.83)),
    "trial 4": (BETTER, (0.84, 0.86)),
}
HOW = Circumstances(seeds=4, judged=3, chosen_by="race", reason="once more")


def make_runs(**failed: int) -> list[Run]:
    """Replicates of all arms; of an arm that is named (with _ for a blank) so many seeds failed."""
    runs = []
    for name, (parameters, values) in SEEDS.items():
        count = failed.get(name.replace(" ", "_").replace(".", "_"), 0)
        made = [
            make_run(Planned(name, parameters, seed), aurocs={"ensemble": value, "patch_knn": value / 2})
            for seed, value in enumerate(values)
        ]
        runs += [replace(run, is_done=False, outcome="diverged") for run in made[:count]] + made[count:]
    return runs


def draft(
    runs: list[Run], entering: Collection[str] = ("trial 2", "trial 4"), study: StudyRecord = STUDY
) -> ConfirmationPlan:
    return draft_plan(study, SMOOTHER, runs, entering, HOW)


def test_the_winner_is_the_finalist_and_search_data_choose_every_arms_scorer() -> None:
    plan = draft(make_runs())
    assert plan.arms == {
        FINALIST: ArmPlan("trial 4", BETTER, "ensemble", (0.84, 0.86)),
        BASELINE: ArmPlan("v1.1", V1_1, "ensemble", (0.78, 0.80)),
        FROZEN_ARM: ArmPlan(FROZEN, None, "ensemble", (0.7,)),
    }
    assert (plan.search_value, plan.smoothed) == (0.86, SMOOTHER.predict(BETTER))
    assert plan.entrants == pytest.approx({"trial 4": 0.85, "trial 2": 0.82})
    assert list(plan.entrants) == ["trial 4", "trial 2"]
    assert (plan.seeds, plan.terms.judged, plan.chosen_by, plan.reason) == (4, 3, "race", "once more")


def test_who_lost_a_seed_does_not_win_against_one_who_lost_none() -> None:
    plan = draft(make_runs(trial_4=1))  # the seed that is left has 0.86
    assert plan.arms[FINALIST].label == "trial 2"
    assert list(plan.entrants) == ["trial 2", "trial 4"]


def test_replicates_of_who_does_not_enter_do_not_race() -> None:
    plan = draft(make_runs(), entering=("trial 2",))
    assert (plan.arms[FINALIST].label, list(plan.entrants)) == ("trial 2", ["trial 2"])


def test_a_frozen_baseline_is_not_an_arm_a_second_time() -> None:
    plan = draft(make_runs(), study=make_study(baseline=FROZEN))
    assert list(plan.arms) == [FINALIST, BASELINE]
    assert plan.arms[BASELINE].label == FROZEN


@pytest.mark.parametrize(
    ("failed", "message"),
    [
        ({"trial_2": 2, "trial_4": 2}, "no finalist of x/tile could be retrained"),
        ({"v1_1": 2}, "no replicate of v1.1 in x/tile came to its end"),
        ({FROZEN: 1}, "no replicate of frozen in x/tile came to its end"),
    ],
)
def test_without_a_finalist_or_something_to_compare_it_with_there_is_no_plan(
    failed: dict[str, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        draft(make_runs(**failed))
    assert f"study show {STUDY.name_sibling('replicates')}" in caught.value.hint


def test_every_source_speaks_of_the_gain_over_the_baselines_fresh_seeds() -> None:
    study = replace(STUDY, category="walnuts")
    gains = {made.source: made.gain for made in foretell(study, draft(make_runs()), SMOOTHER)}
    assert gains == pytest.approx(
        {
            "best trial": 0.86 - 0.79,
            "smoothed": 0.06 * 8 / 9,
            "race": 0.85 - 0.79,
            "v1.2 rule": 0.0159,
        }
    )


def test_of_a_frozen_baseline_the_regression_knows_nothing_so_its_replicates_stand_for_it() -> None:
    study = make_study(baseline=FROZEN)
    gains = {made.source: made.gain for made in foretell(study, draft(make_runs(), study=study), SMOOTHER)}
    assert gains["smoothed"] == pytest.approx(0.83 + 0.03 * 8 / 9 - 0.7)
    assert (gains["race"], gains["v1.2 rule"]) == (pytest.approx(0.15), 0.0)
