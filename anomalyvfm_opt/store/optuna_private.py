"""Everything of Optuna that we lean on and that it does not promise: the only file that names its private parts.

Each function says what it leans on, and tests/unit/store/test_optuna_private.py holds each. So a new Optuna needs
a look at this file alone. Optuna is imported when a function is called: naming a trial's id costs no start-up.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial
    from sqlalchemy import Table

    ListedStudy = FrozenStudy  # what a storage lists

_StorageClass = TypeVar("_StorageClass", bound="type[RDBStorage]")
# What Optuna's cache and Optuna's own public methods call on a storage -> what we write in its place.
_HOOKS = {
    "_create_new_trial": "insert_trial",
    "_set_trial_param": "set_trial_parameter",
    "_get_trials": "read_trials",
}


def read_study_id(study: "optuna.Study") -> int:
    """Return the key of a study's row: `Study._study_id`."""
    return study._study_id


def read_study_key(study: "ListedStudy") -> int:
    """Return the same of a study as a storage lists it: `FrozenStudy._study_id`."""
    return study._study_id


def read_trial_id(trial: "optuna.Trial | FrozenTrial") -> int:
    """Return the key of a trial's row: `Trial._trial_id`, and `FrozenTrial`'s likewise."""
    return trial._trial_id


def number_trial(trial: "FrozenTrial", number: int, trial_id: int) -> None:
    """Give a trial that was just stored its number and the key of its row: `FrozenTrial._trial_id` can be set."""
    trial.number, trial._trial_id = number, trial_id


def find_storage(study: "optuna.Study") -> "BaseStorage":
    """Return the storage that a study asks: `Study._storage`, mostly a cache."""
    return study._storage


def find_uncached(study: "optuna.Study") -> "BaseStorage":
    """Return the storage beneath the cache that `optuna.load_study` puts before it: `_CachedStorage._backend`."""
    uncached: BaseStorage = getattr(study._storage, "_backend", study._storage)
    return uncached


def put_cache_before(storage: "RDBStorage") -> "BaseStorage":
    """Return a storage that reads each finished trial once: `optuna.storages._CachedStorage`."""
    from optuna.storages import _CachedStorage

    return _CachedStorage(storage)


@contextmanager
def reading_from(trial: "optuna.Trial", storage: Any) -> Iterator[None]:
    """Let a trial and its study ask another storage for the length of a `with`.

    Both hold theirs in an attribute, `Trial.storage` and `Study._storage`, and the sampler asks the study's.
    """
    study, before = trial.study, trial.storage
    trial.storage = study._storage = storage
    try:
        yield
    finally:
        trial.storage = study._storage = before


def suggest(trial: "optuna.Trial", name: str, distribution: "BaseDistribution") -> Any:
    """Let the sampler choose a parameter by its distribution, as `suggest_float` and the others do: `_suggest`."""
    return trial._suggest(name, distribution)


def note_attributes(trial: "optuna.Trial", attributes: Mapping[str, Any]) -> None:
    """Tell a trial of user attributes stored past it, as `set_user_attr` does: `_cached_frozen_trial`."""
    trial._cached_frozen_trial.user_attrs.update(attributes)


def replace_state(trial: "optuna.Trial", stored: "FrozenTrial") -> None:
    """Let a trial forget what it knows of itself for what is stored: `_cached_frozen_trial`."""
    trial._cached_frozen_trial = stored


def read_fixed(trial: "optuna.Trial") -> dict[str, Any]:
    """Return the values that a trial was enqueued with: `Trial._fixed_params`."""
    fixed: dict[str, Any] = trial._fixed_params
    return fixed


def is_contained(distribution: "BaseDistribution", value: Any) -> bool:
    """Return whether a distribution could give a value: `BaseDistribution._contains`, of its inner form."""
    return bool(distribution._contains(distribution.to_internal_repr(value)))


def hooked(storage: _StorageClass) -> _StorageClass:
    """Let Optuna's private calls to a class of storages reach our methods; a decorator.

    `_CachedStorage` and `RDBStorage` itself create trials, write parameters and read trials by the private methods
    named in `_HOOKS`. Arguments and results are theirs.
    """
    for private, ours in _HOOKS.items():
        if not hasattr(storage, private):
            raise TypeError(f"Optuna no longer calls {private} of a storage")
        setattr(storage, private, getattr(storage, ours))
    return storage


def list_tables() -> Mapping[str, "Table"]:
    """Return Optuna's tables by name, as SQLAlchemy declares them: `optuna.storages._rdb.models.BaseModel`."""
    from optuna.storages._rdb.models import BaseModel

    tables: Mapping[str, Table] = BaseModel.metadata.tables
    return tables


def find_migrations() -> Path:
    """Return the folder with the migrations of Optuna's tables, `storages/_rdb/alembic`, without importing Optuna.

    Raises:
        LookupError: Optuna is not installed.
    """
    package = find_spec("optuna")
    if package is None or package.origin is None:
        raise LookupError("optuna is not installed")
    return Path(package.origin).parent / "storages" / "_rdb" / "alembic"


def describe_missing() -> str:
    """Return Optuna's message for a study or trial that is not there: `models.NOT_FOUND_MSG`."""
    from optuna.storages._rdb.models import NOT_FOUND_MSG

    return str(NOT_FOUND_MSG)


def split_value(value: float) -> tuple[float | None, str]:
    """Return an objective's value as its two columns, a number or NULL and a kind: `TrialValueModel`."""
    from optuna.storages._rdb.models import TrialValueModel

    number, kind = TrialValueModel.value_to_stored_repr(value)
    return number, kind.name


def split_step(value: float) -> tuple[float | None, str]:
    """Return a value at a step as its two columns, where NaN is a kind as well: `TrialIntermediateValueModel`."""
    from optuna.storages._rdb.models import TrialIntermediateValueModel

    number, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    return number, kind.name
