"""Look into the study store without starting, making or changing anything."""

from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from anomalyvfm_opt.store.engine import check_connection, explained, make_engine
from anomalyvfm_opt.store.home import locate_state_folder
from anomalyvfm_opt.store.schema import is_prepared
from anomalyvfm_opt.store.store import resolve_url
from anomalyvfm_opt.store.studies import list_studies
from anomalyvfm_opt.store.url import read_variable


def peek_studies(flag: str | None) -> dict[str, tuple[Spec, int]]:
    """Spec and used tickets of the studies that exist, by name; none where the embedded store does not run.

    Args:
        flag: value of `--db`; None if it was not given.

    Raises:
        EnvironmentMissingError: the store that is named cannot be reached, or has tables of another version.
        UsageError: the URL is not one of PostgreSQL.
    """
    if flag is None and read_variable() is None:
        home = locate_state_folder()
        if not home.is_dir() or not EmbeddedCluster(home).status().running:
            return {}
    engine = make_engine(resolve_url(flag), pool_size=1)
    check_connection(engine)
    with explained(engine.url):
        if not is_prepared(engine):
            return {}
        records = list_studies(engine)
        return {record.name: (record.spec, count_usage(engine, record.study_id).used) for record in records}
