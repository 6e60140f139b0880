"""What of Optuna is leant on although it is private: a new Optuna that changes one of these fails here by name."""

import ast
import math
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import TrialState

import anomalyvfm_opt
from anomalyvfm_opt.store import optuna_private as private
from anomalyvfm_opt.store.direct import DirectStorage

PACKAGE = Path(anomalyvfm_opt.__file__).parent
OTHERS = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "optuna_private.py")


@pytest.fixture
def storage() -> Iterator[RDBStorage]:
    storage = RDBStorage("sqlite:///:memory:")
    yield storage
    storage.engine.dispose()


@pytest.fixture
def study(storage: RDBStorage) -> optuna.Study:
    return optuna.create_study(storage=storage, study_name="one")


def test_ids_are_the_keys_of_optunas_rows(storage: RDBStorage, study: optuna.Study) -> None:
    trial = study.ask()
    assert private.read_study_id(study) == storage.get_study_id_from_name("one")
    assert storage.get_trial(private.read_trial_id(trial)).number == trial.number
    assert private.read_trial_id(study.trials[0]) == private.read_trial_id(trial)


def test_a_frozen_trial_can_be_numbered() -> None:
    trial = optuna.trial.create_trial(state=TrialState.WAITING)
    private.number_trial(trial, 7, 42)
    assert (trial.number, private.read_trial_id(trial)) == (7, 42)


def test_a_study_asks_a_cache_and_the_cache_a_storage(storage: RDBStorage, study: optuna.Study) -> None:
    assert private.find_storage(study) is not storage
    assert private.find_uncached(study) is storage
    bare = InMemoryStorage()  # which has no cache before it
    assert private.find_uncached(optuna.create_study(storage=bare)) is bare


def test_a_cache_reads_a_finished_trial_once(
    storage: RDBStorage, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.tell(study.ask(), 1.0)
    cached = private.put_cache_before(storage)
    trial_id = private.read_trial_id(study.trials[0])
    assert cached.get_all_trials(private.read_study_id(study))[0].value == 1.0
    monkeypatch.setattr(storage, "get_trial", lambda _: pytest.fail("it was read again"))
    assert cached.get_trial(trial_id).value == 1.0


def test_trial_sampler_and_study_ask_what_stands_before_their_storage(study: optuna.Study) -> None:
    trial = study.ask()
    theirs = private.find_storage(study)
    asked: list[str] = []

    class Between:
        def __getattr__(self, name: str) -> object:
            asked.append(name)
            return getattr(theirs, name)

    with private.reading_from(trial, Between()):
        private.suggest(trial, "x", FloatDistribution(0.0, 1.0))
        study.get_trials()
    assert {"set_trial_param", "get_all_trials"} <= set(asked)
    assert trial.storage is theirs
    assert private.find_storage(study) is theirs


def test_the_storages_come_back_although_a_suggestion_fails(study: optuna.Study) -> None:
    trial, theirs = study.ask(), private.find_storage(study)
    with pytest.raises(RuntimeError), private.reading_from(trial, object()):
        raise RuntimeError
    assert trial.storage is private.find_storage(study) is theirs


def test_a_suggestion_is_stored_and_stays(study: optuna.Study) -> None:
    trial = study.ask()
    kind = CategoricalDistribution((2, 4))
    value = private.suggest(trial, "rank", kind)
    assert value == private.suggest(trial, "rank", kind) == study.trials[0].params["rank"]


def test_a_fixed_parameter_is_suggested_as_it_was_enqueued(study: optuna.Study) -> None:
    """Our own statements write what `enqueue_trial` writes."""
    study.enqueue_trial({"rank": 4})
    assert study.trials[0].system_attrs["fixed_params"] == {"rank": 4}
    trial = study.ask()
    assert private.read_fixed(trial) == {"rank": 4}
    assert private.suggest(trial, "rank", CategoricalDistribution((2, 4))) == 4


def test_a_trial_takes_over_what_was_stored_past_it(storage: RDBStorage, study: optuna.Study) -> None:
    trial = study.ask()
    private.note_attributes(trial, {"alpha": 1.5})
    assert trial.user_attrs == {"alpha": 1.5}
    storage.set_trial_user_attr(private.read_trial_id(trial), "alpha", 2.0)
    private.replace_state(trial, storage.get_trial(private.read_trial_id(trial)))
    assert trial.user_attrs == {"alpha": 2.0}


@pytest.mark.parametrize(
    ("distribution", "inside", "outside"),
    [
        (FloatDistribution(0.25, 4.0, log=True), 4.0, 4.1),
        (IntDistribution(2, 20), 2, 21),
        (CategoricalDistribution((2, "all")), "all", None),
    ],
)
def test_what_a_distribution_could_give(distribution: object, inside: object, outside: object) -> None:
    assert private.is_contained(distribution, inside)  # type: ignore[arg-type]
    if outside is not None:
        assert not private.is_contained(distribution, outside)  # type: ignore[arg-type]


def test_optunas_calls_to_a_hooked_storage_reach_ours() -> None:
    called: list[str] = []

    class Ours(RDBStorage):
        def insert_trial(self, *_: object, **__: object) -> optuna.trial.FrozenTrial:
            called.append("insert")
            trial = optuna.trial.create_trial(state=TrialState.RUNNING)
            private.number_trial(trial, 0, 1)
            return trial

        def set_trial_parameter(self, *_: object, **__: object) -> None:
            called.append("set")

        def read_trials(self, *_: object, **__: object) -> list[optuna.trial.FrozenTrial]:
            called.append("read")
            return []

    ours = private.hooked(Ours)("sqlite:///:memory:")
    study_id = ours.create_new_study([optuna.study.StudyDirection.MAXIMIZE])
    for asked in (ours, private.put_cache_before(ours)):
        called.clear()
        ours_or_cached: BaseStorage = asked
        ours_or_cached.create_new_trial(study_id)
        ours_or_cached.set_trial_param(1, "x", 0.5, FloatDistribution(0.0, 1.0))
        ours_or_cached.get_all_trials(study_id)
        assert called == ["insert", "set", "read"]
    ours.engine.dispose()


def test_every_hook_is_ours_in_our_storage() -> None:
    for optunas, ours in private._HOOKS.items():
        assert getattr(DirectStorage, optunas) is getattr(DirectStorage, ours)
        assert getattr(DirectStorage, optunas) is not getattr(RDBStorage, optunas)


def test_a_hook_that_optuna_dropped_is_said() -> None:
    with pytest.raises(TypeError, match="no longer calls _create_new_trial"):
        private.hooked(InMemoryStorage)  # type: ignore[type-var]


def test_optunas_tables_have_the_columns_that_our_statements_name() -> None:
    tables = private.list_tables()
    for name, columns in {
        "studies": {"study_id", "study_name"},
        "trials": {"trial_id", "study_id", "number", "state", "datetime_start", "datetime_complete"},
        "trial_params": {"param_id", "trial_id", "param_name", "param_value", "distribution_json"},
        "trial_values": {"trial_id", "objective", "value", "value_type"},
        "trial_intermediate_values": {"trial_id", "step", "intermediate_value", "intermediate_value_type"},
        "trial_user_attributes": {"trial_id", "key", "value_json"},
        "trial_system_attributes": {"trial_id", "key", "value_json"},
    }.items():
        assert columns <= set(tables[name].columns.keys())


def test_the_migrations_of_optunas_tables_are_found() -> None:
    assert (private.find_migrations() / "env.py").is_file()


def test_optuna_says_what_is_not_there(storage: RDBStorage) -> None:
    with pytest.raises(KeyError, match=private.describe_missing()):
        storage.get_trial(99)


def test_values_are_stored_as_optuna_stores_them() -> None:
    stored = [private.split_value(value) for value in (0.5, math.inf, -math.inf)]
    assert stored == [(0.5, "FINITE"), (None, "INF_POS"), (None, "INF_NEG")]
    assert private.split_step(0.5) == (0.5, "FINITE")
    assert private.split_step(math.nan) == (None, "NAN")


def list_private_names() -> set[str]:
    """Attributes with one underscore that the one file takes of Optuna's objects, and those that it overrides."""
    tree = ast.parse(Path(private.__file__).read_text(encoding="utf-8"))
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {name for name in named if name.startswith("_") and not name.startswith("__")} | set(private._HOOKS)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_module_names_a_private_part_of_optuna(path: Path) -> None:
    names = list_private_names()
    assert "_trial_id" in names
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in names:
            assert isinstance(node.value, ast.Name), ast.unparse(node)
            assert node.value.id == "self", ast.unparse(node)  # an attribute of a class of ours
        elif isinstance(node, ast.Import):
            assert not any(is_private_of_optuna(alias.name) for alias in node.names), ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            assert not any(is_private_of_optuna(f"{module}.{alias.name}") for alias in node.names), ast.unparse(
                node
            )


def is_private_of_optuna(name: str) -> bool:
    first, *rest = name.split(".")
    return first == "optuna" and any(part.startswith("_") for part in rest)
