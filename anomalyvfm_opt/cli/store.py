"""Open the study store that the options name."""

import warnings
from dataclasses import dataclass

from optuna.storages import RDBStorage
from sqlalchemy import Engine

from anomalyvfm_opt.store.engine import check_connection, make_engine, resolve_url
from anomalyvfm_opt.store.schema import prepare_database
from anomalyvfm_opt.store.storage import open_storage


@dataclass(frozen=True)
class Store:
    """The study store as a command uses it: our engine and Optuna's storage on the same database."""

    url: str
    engine: Engine
    storage: RDBStorage


def open_store(flag: str | None) -> Store:
    """Connect to the study store, starting the embedded one if none is named, and make its tables if new.

    Raises:
        EnvironmentMissingError: it cannot be reached or has tables of another version.
        UsageError: the URL is not one of PostgreSQL.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    url = resolve_url(flag)
    engine = make_engine(url)
    check_connection(engine)
    prepare_database(engine)
    return Store(url, engine, open_storage(url))
