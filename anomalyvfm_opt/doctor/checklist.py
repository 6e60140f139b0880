"""The checks of `doctor` in their order, each with those whose success it needs."""

from dataclasses import dataclass
from pathlib import Path

from anomalyvfm_opt.doctor import connections, embedded, joining, packages, roles, state, tables
from anomalyvfm_opt.doctor import database as server
from anomalyvfm_opt.doctor import device as computing
from anomalyvfm_opt.doctor import subject as inputs
from anomalyvfm_opt.doctor.check import Check
from anomalyvfm_opt.doctor.data import look_at_data
from anomalyvfm_opt.doctor.database import Database
from anomalyvfm_opt.doctor.subject import Subject
from anomalyvfm_opt.doctor.weights import look_at_weights

_READ_LIMIT_S = 1800.0  # all images of all studies, or weights, perhaps over a network
_IMPORT_LIMIT_S = 120.0  # torch's first import from a network disk


@dataclass(frozen=True)
class Named:
    """What the options name; None for what is not given."""

    data: Path | None
    weights: Path | None
    spec: Path | None
    study: str | None


@dataclass(frozen=True)
class Planned:
    """What is to run.

    Args:
        device: as of `worker run`.
        workers: over all hosts.
        cache_gib: disk for the cache of this host.
        on_this_host: whether a worker is to run here, and all is looked for that it would be refused for.
    """

    device: str
    workers: int
    cache_gib: float
    on_this_host: bool


def list_checks(database: Database, named: Named, planned: Planned) -> list[Check]:
    """Return all checks; one comes after those that it needs.

    Args:
        database: the study store; checks open it.
        named: what to look at.
        planned: what to look for.
    """
    subject = Subject()
    return [
        *list_host_checks(planned.cache_gib, planned.on_this_host),
        *list_store_checks(database, planned.workers),
        *_list_device_checks(planned.device),
        *_list_input_checks(subject, database, named, planned.on_this_host),
        *(_list_worker_checks(subject, database, named, planned.device) if planned.on_this_host else ()),
    ]


def list_host_checks(cache_gib: float, worker: bool) -> list[Check]:
    """Return the checks of this host's packages and folders."""
    return [
        Check("packages", packages.look_at_packages),
        Check("state_folder", state.look_at_state_folder),
        Check("disk", lambda: state.look_at_disk(int(cache_gib * 2**30), is_for_worker=worker)),
    ]


def list_store_checks(database: Database, workers: int) -> list[Check]:
    """Return the checks of the database, its tables and its roles, from the connection on."""
    look_at_embedded = Check("embedded", lambda: embedded.look_at_embedded(database), needs=("state_folder",))
    needs_embedded = ("embedded",) if database.is_embedded else ()
    return [
        *([look_at_embedded] if database.is_embedded else []),
        Check("database", lambda: server.look_at_connection(database), needs=needs_embedded),
        Check("password", lambda: server.look_at_password(database)),
        Check("server", lambda: server.look_at_server(database), needs=("database",)),
        Check("latency", lambda: server.look_at_latency(database), needs=("database",)),
        Check("clock", lambda: server.look_at_clock(database), needs=("database",)),
        Check("rights", lambda: tables.look_at_rights(database), needs=("database",)),
        Check("schema", lambda: tables.look_at_schema(database), needs=("rights",)),
        Check("optuna_schema", lambda: tables.look_at_optuna_schema(database), needs=("rights",)),
        Check("roles", lambda: roles.look_at_roles(database), needs=("schema", "optuna_schema")),
        Check("origins", lambda: roles.look_at_origins(database), needs=("schema", "optuna_schema")),
        Check("connections", lambda: connections.look_at_connections(database, workers), needs=("database",)),
    ]


def _list_device_checks(device: str) -> list[Check]:
    """Return the checks of what trains."""
    return [
        Check("torch", lambda: computing.look_at_torch(device), limit_s=_IMPORT_LIMIT_S),
        Check("device", lambda: computing.look_at_device(device), needs=("torch",), limit_s=_IMPORT_LIMIT_S),
        Check("threads", computing.look_at_threads, needs=("torch",)),
    ]


def _list_input_checks(subject: Subject, database: Database, named: Named, worker: bool) -> list[Check]:
    """Return the checks of what is named, and of the data and weights that it needs."""
    spec, study, needs = named.spec, named.study, ("schema", "optuna_schema")
    checks = []
    if spec is not None:
        checks.append(Check("spec", lambda: inputs.look_at_spec(subject, spec)))
    if study is not None:
        checks.append(Check("study", lambda: inputs.look_at_study(subject, database, study), needs=needs))
    if worker:
        checks.append(Check("studies", lambda: joining.look_at_studies(subject, database, study), needs=needs))
    earlier = tuple(check.name for check in checks)
    return [
        *checks,
        Check(
            "weights",
            lambda: look_at_weights(subject, named.weights),
            needs=(*earlier, "torch"),
            limit_s=_IMPORT_LIMIT_S,
        ),
        Check("data", lambda: look_at_data(subject, named.data), needs=() if named.data else earlier),
    ]


def _list_worker_checks(subject: Subject, database: Database, named: Named, device: str) -> list[Check]:
    """Return the checks of what a worker on this host would be refused for."""
    return [
        Check(
            "study_images",
            lambda: joining.look_at_images(subject, database, named.data),
            needs=("studies", "data"),
            limit_s=_READ_LIMIT_S,
        ),
        Check(
            "study_weights",
            lambda: joining.look_at_weights(subject, named.weights),
            needs=("studies", "weights"),
            limit_s=_READ_LIMIT_S,
        ),
        Check("fleet", lambda: joining.look_at_fleet(subject, database, device), needs=("studies", "device")),
        Check("artifacts", lambda: joining.look_at_artifacts(database), needs=("schema",)),
    ]
