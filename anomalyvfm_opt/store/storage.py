"""Optuna's storage on the study store."""

from optuna.storages import RDBStorage

from anomalyvfm_opt.store.engine import engine_options


def open_storage(url: str) -> RDBStorage:
    """Optuna's own storage class, on tables that exist (see schema.prepare_database).

    It has no heartbeat of its own: our leases do that work.
    """
    return RDBStorage(url, engine_kwargs=engine_options(url), skip_table_creation=True)
