"""Trials read without Optuna are what Optuna says they are."""

import optuna
import pytest

from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.trials import StoredTrial, TrialState, list_trials
from tests.integration.test_direct_storage import fill, make_study


def test_states_are_optunas() -> None:
    assert [state.value for state in TrialState] == [state.name for state in optuna.trial.TrialState]
    finished = [state.name for state in optuna.trial.TrialState if state.is_finished()]
    assert [state.value for state in TrialState if state.is_finished()] == finished


def test_trials_of_every_state_are_as_optuna_reads_them(optuna_store: Store) -> None:
    study = make_study(optuna_store.storage)
    fill(study)
    study.add_trial(optuna.trial.create_trial(value=float("-inf"), params={}, distributions={}))
    shown = study.get_trials(deepcopy=False)
    assert {trial.state for trial in shown} == set(optuna.trial.TrialState)
    found = list_trials(optuna_store.engine, study._study_id)
    assert [_describe_stored(trial) for trial in found] == [_describe_optunas(trial) for trial in shown]


def test_trials_of_another_study_are_left_out(optuna_store: Store) -> None:
    study, other = (make_study(optuna_store.storage, name) for name in ("one", "other"))
    other.ask()
    assert list_trials(optuna_store.engine, study._study_id) == []
    assert len(list_trials(optuna_store.engine, other._study_id)) == 1
    assert list_trials(optuna_store.engine, 10**6) == []


@pytest.fixture
def optuna_store(database_url: str) -> Store:
    from anomalyvfm_opt.store.schema import prepare_database

    store = Store.at(database_url)
    prepare_database(store.engine)
    return store


def _describe_stored(trial: StoredTrial) -> str:
    """All of it as text: NaN differs from itself, and 1 equals True."""
    return _join(trial.trial_id, trial.number, trial.state.name, trial.value, dict(trial.params)) + _join(
        dict(trial.user_attrs), trial.datetime_start, trial.datetime_complete, trial.duration
    )


def _describe_optunas(trial: optuna.trial.FrozenTrial) -> str:
    return _join(trial._trial_id, trial.number, trial.state.name, trial.value, trial.params) + _join(
        trial.user_attrs, trial.datetime_start, trial.datetime_complete, trial.duration
    )


def _join(*parts: object) -> str:
    return "\n".join(map(repr, parts)) + "\n"
