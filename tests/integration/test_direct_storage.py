"""Our storage against Optuna's: the same calls leave the same trials, whoever reads them."""

import math
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import text

from anomalyvfm_opt.store.batch import find_direct, set_attributes, suggest_all
from anomalyvfm_opt.store.direct import DirectStorage
from anomalyvfm_opt.store.engine import is_database_fault, make_engine
from anomalyvfm_opt.trial.space import build_sampler
from tests.integration.conftest import make_spec

SPACE: dict[str, BaseDistribution] = {
    "adapter": CategoricalDistribution(("lora", "dora", None)),
    "mixed": CategoricalDistribution((1, 2.5, True, "x")),
    "epochs": IntDistribution(2, 20, log=True),
    "blocks": IntDistribution(2, 12, step=2),
    "learning_rate": FloatDistribution(3e-5, 2e-3, log=True),
    "share": FloatDistribution(0.0, 1.0),
    "step": FloatDistribution(0.0, 1.0, step=0.1),
}
ATTRIBUTES: dict[str, Any] = {
    "text": "Größe 日本 \x00 \\ \" ' %s :name ;",
    "numbers": [1, 2.5, 1e-300, -0.0, 0.1 + 0.2, 10**30],
    "not_finite": [math.inf, -math.inf, math.nan],
    "nested": {"a": {"b": [None, True, ""]}},
    "long": "x" * 20_000,
}
STEPS = {0: 0.1 + 0.2, 1: math.nan, 2: math.inf, 7: -math.inf, 3: 1e-310}


@pytest.fixture
def plain(database_url: str) -> Iterator[RDBStorage]:
    storage = RDBStorage(database_url)
    yield storage
    storage.engine.dispose()


@pytest.fixture
def direct(plain: RDBStorage) -> Iterator[DirectStorage]:
    storage = DirectStorage(plain.url, skip_table_creation=True)
    yield storage
    storage.engine.dispose()


def make_study(storage: RDBStorage, name: str = "study") -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=1)
    return optuna.create_study(storage=storage, study_name=name, sampler=sampler, direction="maximize")


def fill(study: optuna.Study) -> None:
    """Trials of every state, with everything that a trial can have."""
    study.enqueue_trial({"epochs": 4, "adapter": None}, user_attrs={"reference": "v1.1"})
    study.enqueue_trial({"share": 0.25})
    values = (0.1 + 0.2, math.inf, -math.inf, 0.0)
    for value in values:
        trial = study.ask(SPACE)
        for name, attribute in ATTRIBUTES.items():
            trial.set_user_attr(name, "old")
            trial.set_user_attr(name, attribute)
        for step, number in STEPS.items():
            trial.report(number, step)
        trial.set_constraint("unsound", 1.0)
        study.tell(trial, value)
    pruned = study.ask(SPACE)
    pruned.report(0.5, 3)
    study.tell(pruned, state=TrialState.PRUNED)
    study.tell(study.ask(SPACE), state=TrialState.FAIL)
    study.ask(SPACE)
    study.enqueue_trial({"epochs": 3})
    study.add_trial(
        create_trial(
            value=-1.5,
            params={"epochs": 5, "adapter": "dora"},
            distributions={name: SPACE[name] for name in ("epochs", "adapter")},
            user_attrs=ATTRIBUTES,
            system_attrs={"fixed_params": {"epochs": 5}},
            intermediate_values=STEPS,
        )
    )


def show(trial: FrozenTrial) -> dict[str, Any]:
    """All of a trial but its id and its times, in a form in which NaN equals NaN."""
    shown = {name: getattr(trial, name) for name in ("number", "state", "params", "distributions", "values")}
    for name in ("user_attrs", "system_attrs", "intermediate_values"):
        shown[name] = sorted(getattr(trial, name).items(), key=repr)
    return {name: repr(value) for name, value in shown.items()}


def show_times(trials: list[FrozenTrial]) -> list[tuple[int, datetime | None, datetime | None]]:
    return [(trial._trial_id, trial.datetime_start, trial.datetime_complete) for trial in trials]


def test_a_study_filled_by_either_is_the_same_and_reads_the_same_through_either(
    plain: RDBStorage, direct: DirectStorage
) -> None:
    fill(make_study(plain, "by_plain"))
    fill(make_study(direct, "by_direct"))
    seen = []
    for name in ("by_plain", "by_direct"):
        study_id = plain.get_study_id_from_name(name)
        theirs, ours = plain.get_all_trials(study_id), direct.get_all_trials(study_id)
        assert [show(trial) for trial in ours] == [show(trial) for trial in theirs]
        assert show_times(ours) == show_times(theirs)
        assert [show(direct.get_trial(t._trial_id)) for t in ours] == [show(trial) for trial in theirs]
        assert [trial.number for trial in ours] == list(range(len(ours)))
        waiting = direct.get_all_trials(study_id, states=(TrialState.WAITING,))
        assert [trial.number for trial in waiting] == [7]
        seen.append([show(trial) for trial in theirs])
    assert seen[0] == seen[1]
    assert {trial["state"] for trial in seen[0]} == {repr(state) for state in TrialState}


def test_times_are_kept_like_optunas(plain: RDBStorage, direct: DirectStorage) -> None:
    study = make_study(direct)
    study.enqueue_trial({})
    before = datetime.now()
    study.tell(study.ask(), 1.0)
    trial = plain.get_trial(study.trials[0]._trial_id)
    assert trial.datetime_start is not None
    assert trial.datetime_complete is not None
    assert before <= trial.datetime_start <= trial.datetime_complete <= datetime.now()


def test_several_objectives(plain: RDBStorage, direct: DirectStorage) -> None:
    study = optuna.create_study(storage=direct, directions=["maximize", "minimize"])
    study.tell(study.ask(), [1.0, math.inf])
    study.add_trial(create_trial(values=[2.0, 3.0]))
    assert [trial.values for trial in plain.get_all_trials(study._study_id)] == [[1.0, math.inf], [2.0, 3.0]]
    assert [trial.values for trial in direct.get_all_trials(study._study_id)] == [[1.0, math.inf], [2.0, 3.0]]


def test_a_finished_trial_refuses_every_write_and_stays_as_it_was(direct: DirectStorage) -> None:
    study = make_study(direct)
    fill(study)
    before = direct.get_trial(1)
    writes = (
        lambda: direct.set_trial_param(1, "new", 0.5, FloatDistribution(0, 1)),
        lambda: direct.set_trial_params(1, {"new": (0.5, FloatDistribution(0, 1))}, {}),
        lambda: direct.set_trial_user_attrs(1, {"new": 1, "text": 2}),
        lambda: direct.set_trial_system_attr(1, "new", 1),
        lambda: direct.set_trial_intermediate_value(1, 9, 0.5),
        lambda: direct.set_trial_state_values(1, TrialState.FAIL),
        lambda: direct.set_trial_state_values(1, TrialState.RUNNING),
        lambda: direct.set_trial_state_values(1, TrialState.COMPLETE, [2.0]),
    )
    for write in writes:
        with pytest.raises(UpdateFinishedTrialError):
            write()
    assert show(direct.get_trial(1)) == show(before)


def test_unknown_ids_are_key_errors(direct: DirectStorage) -> None:
    study = make_study(direct)
    calls = (
        lambda: direct.get_trial(99),
        lambda: direct.set_trial_user_attrs(99, {"a": 1}),
        lambda: direct.set_trial_params(99, {"a": (0.5, FloatDistribution(0, 1))}),
        lambda: direct.set_trial_state_values(99, TrialState.FAIL),
        lambda: direct.get_all_trials(99),
        lambda: direct.create_new_trial(99),
        lambda: direct.get_trial_id_from_study_id_trial_number(study._study_id, 99),
    )
    for call in calls:
        with pytest.raises(KeyError):
            call()


def test_a_distribution_of_another_kind_is_refused(direct: DirectStorage) -> None:
    study = make_study(direct)
    study.ask({"x": FloatDistribution(0, 1)})
    for other in (IntDistribution(0, 1), FloatDistribution(0.1, 1, log=True), CategoricalDistribution((0, 1))):
        with pytest.raises(ValueError, match="Cannot set different"):
            make_again(study).ask({"x": other})
        with pytest.raises(ValueError, match="Cannot set different"):
            suggest_all(make_again(study).ask(), {"x": other})
    study.ask({"x": FloatDistribution(0, 2)})


def make_again(study: optuna.Study) -> optuna.Study:
    return optuna.load_study(study_name=study.study_name, storage=find_direct(study))


def test_numbers_have_no_gaps_and_a_waiting_trial_is_taken_once(direct: DirectStorage) -> None:
    study = make_study(direct)
    for index in range(20):
        study.enqueue_trial({"share": index / 20})
    asked: list[int] = []

    def ask_ten() -> None:
        own = make_again(study)
        asked.extend(own.ask().number for _ in range(10))

    threads = [threading.Thread(target=ask_ten) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(asked) == list(range(80))
    assert [trial.number for trial in study.get_trials()] == list(range(80))


def test_a_trial_is_finished_once(direct: DirectStorage) -> None:
    trial_id = direct.create_new_trial(direct.create_new_study([StudyDirection.MAXIMIZE]))
    told: list[bool] = []

    def tell() -> None:
        try:
            told.append(direct.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0]))
        except UpdateFinishedTrialError:
            told.append(False)

    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(told) == [False] * 7 + [True]


def test_parameters_suggested_together_are_those_suggested_one_by_one(
    plain: RDBStorage, direct: DirectStorage
) -> None:
    """With TPE as our loop runs it, past its random start, and with a trial that waits."""
    seen = []
    for storage, name in ((plain, "by_plain"), (direct, "by_direct")):
        study = make_study(storage, name)
        study.sampler = build_sampler(make_spec(startup_trials=3).search, "s", "w")
        for number in range(12):
            if number == 8:
                study.enqueue_trial({"epochs": 3})
            if storage is plain:
                trial = study.ask(SPACE)
            else:
                trial = study.ask()
                suggest_all(trial, SPACE)
            assert trial.params == study.get_trials()[-1].params
            study.tell(trial, float(trial.params["share"]))
        seen.append([show(trial) for trial in plain.get_all_trials(study._study_id)])
    assert seen[0] == seen[1]


def test_attributes_set_together_are_all_there_or_none(direct: DirectStorage) -> None:
    study = make_study(direct)
    trial = study.ask()
    set_attributes(trial, ATTRIBUTES)
    assert repr(trial.user_attrs) == repr(study.get_trials()[0].user_attrs) == repr(ATTRIBUTES)
    with pytest.raises(StorageInternalError) as refused:
        set_attributes(trial, {"fits": 1, "x" * 600: 2})
    assert not is_database_fault(refused.value)
    assert "fits" not in study.get_trials()[0].user_attrs


def test_a_fault_of_the_database_is_known_as_one(direct: DirectStorage) -> None:
    study = make_study(direct)
    with direct.engine.begin() as connection:
        connection.execute(text("ALTER TABLE trials RENAME TO gone"))
    with pytest.raises(StorageInternalError) as refused:
        study.get_trials()
    assert not is_database_fault(refused.value)
    bad = DirectStorage(direct.url, skip_table_creation=True)
    bad.engine.dispose()
    bad.engine = make_engine("postgresql://nobody@127.0.0.1:1/nowhere")
    with pytest.raises(StorageInternalError) as away:
        bad.get_trial(1)
    assert is_database_fault(away.value)


def test_a_study_in_another_storage_is_named() -> None:
    study = optuna.create_study()
    with pytest.raises(TypeError, match="InMemoryStorage"):
        suggest_all(study.ask(), SPACE)
