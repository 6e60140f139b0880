"""Optuna's storage on the study store, and the version of its tables."""

import logging
import warnings

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.direct import DirectStorage
from anomalyvfm_opt.store.engine import engine_options, explain_database_error, explained
from anomalyvfm_opt.store.versions import UPGRADE_OURS, UPGRADE_PROGRAM


def open_storage(url: str, *, reads_user_attributes: bool = True) -> DirectStorage:
    """Optuna's storage, with plain SQL in it, on tables that exist (see schema.prepare_database).

    It has no heartbeat of its own: our leases do that work. Optuna says no more than warnings from here on.

    Args:
        url: of the database.
        reads_user_attributes: as of `DirectStorage`.

    Raises:
        EnvironmentMissingError: the database cannot be used, or its tables are those of another Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    try:
        with explained(make_url(url)):
            return DirectStorage(
                url,
                engine_kwargs=engine_options(url),
                skip_table_creation=True,
                reads_user_attributes=reads_user_attributes,
            )
    except StorageInternalError as error:
        raise explain_database_error(error, make_url(url)) from None
    except RuntimeError as error:
        message = str(error).splitlines()[0]
        is_older = "storage upgrade" in message
        raise EnvironmentMissingError(
            f"Optuna's tables do not fit: {message}", UPGRADE_OURS if is_older else UPGRADE_PROGRAM
        ) from None


def make_optuna_tables(url: str, *, and_upgrade: bool) -> None:
    """Make Optuna's tables where they are missing; tables that are there stay as they are unless told otherwise.

    Args:
        url: of the database.
        and_upgrade: bring older tables to the version of the installed Optuna, in one transaction.

    Raises:
        EnvironmentMissingError: the database cannot be used.
    """
    logging.disable(logging.INFO)  # Optuna's migration sets loggers up by itself
    try:
        with explained(make_url(url)), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about the distributions that it replaces
            storage = RDBStorage(url, engine_kwargs=engine_options(url), skip_compatibility_check=True)
            try:
                if and_upgrade:
                    storage.upgrade()
            finally:
                storage.engine.dispose()
    except StorageInternalError as error:
        raise explain_database_error(error, make_url(url)) from None
    finally:
        logging.disable(logging.NOTSET)
