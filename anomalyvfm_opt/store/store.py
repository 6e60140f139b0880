"""Open the study store that the options name."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

from sqlalchemy import Engine

from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from anomalyvfm_opt.store.engine import check_connection, make_engine
from anomalyvfm_opt.store.home import state_folder
from anomalyvfm_opt.store.schema import prepare_database
from anomalyvfm_opt.store.url import URL_VARIABLE, normalise_url, read_variable

if TYPE_CHECKING:
    import optuna

    from anomalyvfm_opt.store.direct import DirectStorage


@dataclass(frozen=True)
class Store:
    """The study store: our engine, and Optuna's storage on the same database, opened when first used.

    Args:
        url: of the database, without a password.
        engine: on it.
    """

    url: str
    engine: Engine

    @classmethod
    def at(cls, url: str) -> Self:
        """Return the store at a URL, before anything of it is looked at."""
        return cls(url, make_engine(url))

    @cached_property
    def storage(self) -> "DirectStorage":
        """Optuna's storage, with plain SQL in it; commands that only read our tables never import Optuna.

        Raises:
            EnvironmentMissingError: Optuna's tables are missing, or of another version.
        """

        from anomalyvfm_opt.store.storage import open_storage

        return open_storage(self.url)

    @cached_property
    def sampling_storage(self) -> "DirectStorage":
        """The same for who samples: its trials have no user attributes where many are read at once.

        Raises:
            EnvironmentMissingError: as of `storage`.
        """

        from anomalyvfm_opt.store.storage import open_storage

        return open_storage(self.url, reads_user_attributes=False)

    def study(self, name: str) -> "optuna.Study":
        """Return a study of that name as Optuna sees it, with its default sampler and no pruner of ours."""
        import optuna

        return optuna.load_study(study_name=name, storage=self.storage)


def open_store(flag: str | None) -> Store:
    """Connect to the study store, starting the embedded one if none is named, and make its tables if new.

    Raises:
        EnvironmentMissingError: it cannot be reached or has tables of another version.
        UsageError: the URL is not one of PostgreSQL.
    """
    url = resolve_url(flag)
    store = Store.at(url)
    check_connection(store.engine)
    prepare_database(store.engine)
    return store


def resolve_url(flag: str | None) -> str:
    """Return the database's URL: flag > `ANOMALYVFM_OPT_DB_URL` > the embedded database, which is started.

    Args:
        flag: value of `--db`; None if it was not given.

    Raises:
        UsageError: not a PostgreSQL URL.
        EnvironmentMissingError: the embedded database cannot be started.
    """
    given = flag if flag is not None else read_variable()
    if given is not None:
        return normalise_url(given, "--db" if flag is not None else URL_VARIABLE)
    cluster = EmbeddedCluster(state_folder())
    cluster.up()
    return cluster.reach()
