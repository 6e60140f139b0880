"""Optuna's storage on the study store."""

from optuna.storages import RDBStorage

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.engine import engine_options


def open_storage(url: str) -> RDBStorage:
    """Optuna's own storage class, on tables that exist (see schema.prepare_database).

    It has no heartbeat of its own: our leases do that work.

    Raises:
        EnvironmentMissingError: Optuna's tables are those of another version of Optuna.
    """
    try:
        return RDBStorage(url, engine_kwargs=engine_options(url), skip_table_creation=True)
    except RuntimeError as error:
        raise EnvironmentMissingError(
            f"Optuna's tables do not fit: {str(error).splitlines()[0]}", "run `anomalyvfm-opt db upgrade`"
        ) from None
