"""While a confirmation runs nobody sees its values; when it is over everybody does."""

import json
import math
from pathlib import Path

import optuna
import pytest
from sqlalchemy import text

from anomalyvfm_opt.report.dashboard import make_application
from anomalyvfm_opt.store.schema import upgrade_database
from anomalyvfm_opt.store.sealed import SEALED, unseal
from anomalyvfm_opt.trial.loop import Turn
from anomalyvfm_opt.trial.result import TrialRequest
from tests.integration.dashboards import ask_dashboard
from tests.integration.families import Families, Family, plan_looks
from tests.integration.transfers import receive, send
from tests.integration.trial_states import run_to_end


@pytest.fixture
def open_round(family: Family) -> Family:
    """A confirmation of three trials, two of which are done."""
    plan_looks(family, 3)
    loop = family.sibling("confirm").loop(family.trainings.run)
    assert [loop.take_turn() for _ in range(2)] == [Turn.RAN, Turn.RAN]
    return family


def read_values(family: Family) -> list[float | None]:
    """As any Optuna tool reads them, of the trials that are complete."""
    trials = family.sibling("confirm").study().get_trials(states=[optuna.trial.TrialState.COMPLETE])
    return [trial.value for trial in trials]


def read_truth(family: Family) -> list[float]:
    return [run.aurocs[run.planned.scorer or ""] for run in family.runs("confirm") if run.is_done]


def test_values_are_sealed_until_the_last_trial_is_done(open_round: Family) -> None:
    assert read_values(open_round) == [SEALED, SEALED]
    open_round.work("confirm")
    truth = read_truth(open_round)
    assert len(set(truth)) > 1
    assert all(0 <= value <= 1 for value in truth)
    assert read_values(open_round) == truth


def test_the_dashboard_shows_no_value_of_a_round_that_runs(open_round: Family) -> None:
    study_id = open_round.sibling("confirm").record.study_id
    application = make_application(open_round.bench.storage)
    _, answer = ask_dashboard(application, f"/api/studies/{study_id}", "after=0")
    body = answer.decode()
    trials = json.loads(body)["trials"]
    assert [trial.get("values") for trial in trials] == [["-inf"], ["-inf"], None]
    assert not [value for value in read_truth(open_round) if str(value) in body]


def test_a_last_trial_that_fails_for_good_ends_the_round(open_round: Family) -> None:
    def fail(_request: TrialRequest) -> Exception:
        return RuntimeError("an error of ours fails a trial for good at once")

    open_round.trainings.fault = fail
    run_to_end(open_round.sibling("confirm").loop(open_round.trainings.run))
    assert read_values(open_round) == read_truth(open_round)
    assert len(read_truth(open_round)) == 2


def test_the_next_worker_unseals_what_a_dead_one_left(open_round: Family) -> None:
    open_round.work("confirm")
    truth = read_truth(open_round)
    seal_by_hand(open_round)
    assert read_values(open_round) == [SEALED] * 3
    assert open_round.sibling("confirm").loop(open_round.trainings.run).take_turn() is Turn.DONE
    assert read_values(open_round) == truth


def test_only_a_confirmation_is_unsealed(family: Family) -> None:
    study = family.bench.study()
    for trial in study.get_trials():
        assert trial.state is optuna.trial.TrialState.WAITING
    family.search()
    seal_by_hand(family)
    assert unseal(family.engine, family.bench.record.study_id) == 0
    assert all(trial.value == -math.inf for trial in study.get_trials())


def test_unsealing_again_changes_nothing(open_round: Family) -> None:
    study_id = open_round.sibling("confirm").record.study_id
    assert unseal(open_round.engine, study_id) == 0
    open_round.work("confirm")
    assert unseal(open_round.engine, study_id) == 0
    assert read_values(open_round) == read_truth(open_round)


def test_an_upgrade_seals_the_round_that_runs(store: Families) -> None:
    family, over = store.found("runs"), store.found("over")
    for one, trials in ((family, 3), (over, 1)):
        plan_looks(one, trials)
        one.sibling("confirm").loop(one.trainings.run).take_turn()
    truth = read_truth(family)
    with store.engine.begin() as connection:  # as the program before this one left it
        connection.execute(text("DROP FUNCTION anomalyvfm_opt.unseal"))
        connection.execute(text("UPDATE anomalyvfm_opt.schema_version SET version_num = '0005'"))
        connection.execute(
            text("UPDATE trial_values SET value = :value, value_type = 'FINITE' WHERE value_type = 'INF_NEG'"),
            {"value": truth[0]},
        )
    upgrade_database(store.engine)
    assert read_values(family) == [SEALED]
    assert read_values(over) == read_truth(over)
    family.work("confirm")
    assert read_values(family) == read_truth(family)


def test_an_export_carries_no_value_of_a_round_that_runs(
    open_round: Family, tmp_path: Path, store_url: str
) -> None:
    header = send(open_round.bench, tmp_path / "study.json")
    assert header.requeued == 2
    text = (tmp_path / "study.json").read_text()
    assert not [value for value in read_truth(open_round) if str(value) in text]
    assert receive(store_url, tmp_path / "study.json")
    moved = Families(store_url).open(open_round.name)
    assert read_values(moved) == []
    for family in (open_round, moved):
        family.work("confirm")
    assert read_truth(moved) == read_values(moved) == read_values(open_round)
    assert len(moved.look_rows()) == 2 + 3  # those of the first store came with it


def seal_by_hand(family: Family) -> None:
    """What a worker leaves that dies between its last two transactions."""
    with family.engine.begin() as connection:
        connection.execute(text("UPDATE trial_values SET value = NULL, value_type = 'INF_NEG'"))
