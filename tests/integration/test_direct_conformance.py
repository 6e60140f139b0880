"""Optuna's own tests of what a storage is, on ours."""

import uuid
from collections.abc import Iterator

import optuna
import pytest
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage
from optuna.testing.pytest_storages import StorageTestCase
from sqlalchemy import create_engine, make_url, text

from anomalyvfm_opt.store.batch import find_direct
from anomalyvfm_opt.store.direct import DirectStorage


@pytest.fixture(scope="module")
def tables_url(postgres_url: str) -> str:
    """A database with Optuna's tables, for all tests here: one for each would take most of their time."""
    name = f"test_{uuid.uuid4().hex}"
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    RDBStorage(url).engine.dispose()
    return url


class TestDirectStorage(StorageTestCase):
    @pytest.fixture(params=["bare", "cached"])
    def storage(self, tables_url: str, request: pytest.FixtureRequest) -> Iterator[BaseStorage]:
        storage = DirectStorage(tables_url, skip_table_creation=True)
        with storage.engine.begin() as connection:
            connection.execute(text("SET LOCAL synchronous_commit = off; TRUNCATE studies CASCADE"))
        yield storage if request.param == "bare" else _CachedStorage(storage)
        storage.engine.dispose()


def test_the_private_names_of_optuna_that_we_lean_on(tables_url: str) -> None:
    """A new Optuna needs a look at each: what is overridden, the cache before it, and Trial's way to the store."""
    assert optuna.__version__.startswith("5.0.")
    for name in ("_create_new_trial", "_set_trial_param", "_get_trials"):
        assert callable(getattr(RDBStorage, name))
    storage = DirectStorage(tables_url, skip_table_creation=True)
    study = optuna.create_study(storage=storage)
    assert isinstance(study._storage, _CachedStorage)
    assert find_direct(study) is storage
    trial = study.ask()
    assert trial.storage is study._storage
    assert callable(trial._suggest)
    assert trial._cached_frozen_trial.user_attrs == {}
    storage.engine.dispose()
