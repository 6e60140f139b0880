"""What a worker says: how far a trial is, how it ended, how the study stands, and what comes next."""

from dataclasses import replace

import pytest

from anomalyvfm_opt.evaluation.linter.findings import Finding, Severity
from anomalyvfm_opt.store.budget import Usage
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.trial.outcome import Outcome
from anomalyvfm_opt.trial.progress import Underway
from anomalyvfm_opt.trial.settle import Ended
from anomalyvfm_opt.worker.next_step import name_next_step
from anomalyvfm_opt.worker.standing import Standing, describe_time
from anomalyvfm_opt.worker.telling import describe_end, describe_underway
from tests.unit.verdict.cases import make_study

STUDY = make_study()
OVER = Usage(complete=6, pruned=0, failed=0, running=0, waiting=0, held=0, budget=6)
OPEN = replace(OVER, complete=2, waiting=4)
BEGUN = Underway(number=4, what="search", epochs=10, seconds=0.4)


@pytest.mark.parametrize(
    ("underway", "words"),
    [
        (BEGUN, "search: epoch 1/10, 0 s"),
        (replace(BEGUN, epoch=2, loss=0.12344, seconds=35.2), "search: epoch 3/10, loss 0.1234, 35 s"),
        (replace(BEGUN, epoch=10, loss=0.1, seconds=99), "search: epoch 10/10 done, loss 0.1000, scoring, 99 s"),
        (replace(BEGUN, epoch=2, resumed_from=2), "search, goes on after epoch 2: epoch 3/10, 0 s"),
        (Underway(number=4, what="reference frozen", epochs=0), "reference frozen: scoring, 0 s"),
    ],
)
def test_it_says_how_far_a_trial_is(underway: Underway, words: str) -> None:
    assert describe_underway(STUDY, underway) == f"x/tile trial 4, {words}"


def test_it_says_how_a_trial_ended_and_of_a_confirmation_no_value() -> None:
    finding = Finding("flat_loss", Severity.DOUBTFUL, "flat")
    ended = Ended(number=4, outcome=Outcome.COMPLETED, value=0.76666, findings=[finding])
    assert describe_end(STUDY, ended) == "x/tile trial 4 completed 0.7667 (flat_loss)"
    confirm = replace(STUDY, name="x/tile#confirm")
    assert describe_end(confirm, ended) == "x/tile#confirm trial 4 completed (flat_loss)"
    failed = Ended(number=5, outcome=Outcome.BUG, value=None, message="Traceback\nValueError: no\n")
    assert describe_end(STUDY, failed) == "x/tile trial 5 bug: ValueError: no"
    stopped = Ended(number=6, outcome=Outcome.PREEMPTED, value=None, message="drained")
    assert describe_end(STUDY, stopped) == "x/tile trial 6 preempted: drained; given back"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "best 0.8600, v1.1 0.8000; 4 of 6 trials left, about 12 min"),
        ({"best": None}, "v1.1 0.8000; 4 of 6 trials left, about 12 min"),
        ({"best": None, "baseline_value": None, "left_s": None}, "4 of 6 trials left"),
        ({"left": 0}, "best 0.8600, v1.1 0.8000; 0 of 6 trials left"),
    ],
)
def test_it_says_how_a_study_stands(changes: dict[str, object], words: str) -> None:
    standing = Standing(best=0.86, baseline="v1.1", baseline_value=0.8, left=4, budget=6, left_s=720.0)
    assert replace(standing, **changes).describe() == words  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(59, "under a minute"), (60, "about 1 min"), (5399, "about 90 min"), (5400, "about 1.5 h")],
)
def test_a_time_to_come_is_in_words(seconds: float, words: str) -> None:
    assert describe_time(seconds) == words


def sibling(kind: str, study_id: int) -> StudyRecord:
    return replace(STUDY, name=f"{STUDY.name}#{kind}", study_id=study_id)


def test_the_next_step_follows_from_what_is_over() -> None:
    replicates, confirm = sibling("replicates", 2), sibling("confirm", 3)
    assert name_next_step([], {}) == ""
    assert name_next_step([STUDY], {1: OPEN}) == "anomalyvfm-opt study show x/tile"
    assert name_next_step([STUDY, replicates], {1: OVER, 2: OVER}) == "anomalyvfm-opt confirm x/tile"
    running = {1: OVER, 2: replace(OVER, held=1)}
    assert name_next_step([STUDY, replicates], running) == "anomalyvfm-opt study show x/tile"
    everything = {1: OVER, 2: OVER, 3: OVER}
    assert name_next_step([STUDY, replicates, confirm], everything) == "anomalyvfm-opt verdict x/tile"


def test_of_several_categories_the_spec_is_named_and_of_several_specs_the_list() -> None:
    other = replace(STUDY, name="x/can", category="can", study_id=4)
    assert name_next_step([STUDY, other], {1: OVER, 4: OVER}) == "anomalyvfm-opt confirm x"
    foreign = replace(other, name="y/can", spec=STUDY.spec.model_copy(update={"name": "y"}))
    assert name_next_step([STUDY, foreign], {1: OVER, 4: OVER}) == "anomalyvfm-opt study list"
    assert name_next_step([STUDY, other], {1: OVER}) == "anomalyvfm-opt confirm x/tile"  # the other was deleted
