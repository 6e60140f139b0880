"""From the trials of a search to those that race, and to the order in which they arrive."""

from dataclasses import replace

import pytest

from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.verdict.race import baseline_parameters, enter, list_entrants, list_rivals
from anomalyvfm_opt.verdict.runs import Run
from anomalyvfm_opt.verdict.smoothing import Observed, smooth
from tests.unit.verdict.cases import BETTER, V1_1, make_run, make_study

STUDY = make_study()  # two finalists
OTHER = replace(V1_1, rank=8)
# Mean 0.83 and variance 0.0009; with a noise of 0.01 each keeps 8 / 9 of its distance from the mean.
OBSERVED = (Observed(1, V1_1, 0.80), Observed(2, OTHER, 0.83), Observed(4, BETTER, 0.86))
SMOOTHER = smooth(OBSERVED, noise_sd=0.01)


def make_runs(number: int, *values: float) -> list[Run]:
    """Fresh seeds of a trial, by the scorer `ensemble`; `patch_knn` is the worse one."""
    parameters = {found.number: found.parameters for found in OBSERVED}[number]
    return [
        make_run(
            Planned(f"trial {number}", parameters, seed), aurocs={"ensemble": value, "patch_knn": value - 0.1}
        )
        for seed, value in enumerate(values)
    ]


def test_the_baseline_does_not_race_against_itself_however_good_its_trial_was() -> None:
    lucky = [*OBSERVED, Observed(7, V1_1, 0.99)]
    assert [found.number for found in list_rivals(STUDY, lucky)] == [2, 4]
    assert list(enter(STUDY, smooth(lucky, noise_sd=0.01))) == ["trial 4", "trial 2"]


def test_a_baseline_that_went_through_the_sampler_is_still_the_baseline() -> None:
    again = replace(V1_1, learning_rate=V1_1.learning_rate * (1 + 1e-15))
    assert again != V1_1
    assert list_rivals(STUDY, [Observed(9, again, 0.9)]) == []


def test_against_the_frozen_network_every_trial_is_a_rival() -> None:
    study = make_study(baseline=FROZEN)
    assert baseline_parameters(study) is None
    assert list_rivals(study, OBSERVED) == list(OBSERVED)
    assert enter(study, SMOOTHER) == {"trial 4": BETTER, "trial 2": OTHER}


def test_the_best_expected_enter_and_no_more_than_the_spec_says() -> None:
    assert enter(make_study(finalists=1), SMOOTHER) == {"trial 4": BETTER}


def test_fresh_seeds_decide_and_not_the_value_that_a_trial_was_noticed_for() -> None:
    first, second = list_entrants(STUDY, SMOOTHER, [*make_runs(4, 0.81, 0.83), *make_runs(2, 0.84, 0.86)])
    assert (first.number, first.values, first.search_value) == (2, (0.84, 0.86), 0.83)
    assert first.mean == pytest.approx(0.85)
    assert (second.number, second.search_value, second.scorer) == (4, 0.86, "ensemble")
    assert second.smoothed[0] == pytest.approx(0.83 + 0.03 * 8 / 9)


def test_replicates_of_references_and_arms_without_a_seed_that_is_done_are_not_in_the_race() -> None:
    lost = [replace(run, is_done=False, outcome="diverged") for run in make_runs(2, 0.9, 0.9)]
    references = [make_run(Planned("v1.1", V1_1, 1)), make_run(Planned(FROZEN, None, 2))]
    found = list_entrants(STUDY, SMOOTHER, [*lost, *references, *make_runs(4, 0.8)])
    assert [entrant.number for entrant in found] == [4]


def test_a_seed_that_failed_is_not_in_the_mean() -> None:
    done, lost = make_runs(4, 0.8, 0.1)
    (entrant,) = list_entrants(STUDY, SMOOTHER, [done, replace(lost, is_done=False, outcome="diverged")])
    assert (entrant.values, entrant.mean) == ((0.8,), 0.8)
