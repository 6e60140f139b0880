"""Open the study store that the options name."""

import os
import warnings
from dataclasses import dataclass

from optuna.storages import RDBStorage
from sqlalchemy import Engine

from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from anomalyvfm_opt.store.engine import URL_VARIABLE, check_connection, make_engine, normalise_url
from anomalyvfm_opt.store.home import state_folder
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


def resolve_url(flag: str | None) -> str:
    """The database's URL: flag > `ANOMALYVFM_OPT_DB_URL` > the embedded database, which is started.

    Args:
        flag: value of `--db`; None if it was not given.

    Raises:
        UsageError: not a PostgreSQL URL.
        EnvironmentMissingError: the embedded database cannot be started.
    """
    given = flag if flag is not None else os.environ.get(URL_VARIABLE) or None
    if given is not None:
        return normalise_url(given, "--db" if flag is not None else URL_VARIABLE)
    cluster = EmbeddedCluster(state_folder())
    cluster.up()
    return cluster.url()
