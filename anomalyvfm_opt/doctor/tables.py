"""Rights in the database, and whether its tables are those that this program needs."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from anomalyvfm_opt.doctor.check import CheckResult, fail, ok
from anomalyvfm_opt.doctor.database import Database
from anomalyvfm_opt.store.misplaced import explain_misplaced
from anomalyvfm_opt.store.optuna_private import list_tables
from anomalyvfm_opt.store.rights import WORKER_RIGHTS, advise_role, check_may_create
from anomalyvfm_opt.store.roles import find_roles
from anomalyvfm_opt.store.schema import HEAD
from anomalyvfm_opt.store.tables import SCHEMA
from anomalyvfm_opt.store.versions import UPGRADE_OURS, UPGRADE_PROGRAM, list_optuna_versions

_READS = "it is a role that reads; a worker uses the role of the workers"
_NOT_MADE = "not made yet; the first command makes them"


def look_at_rights(database: Database) -> CheckResult:
    """Say whether this role may make the tables, or use those that are there.

    Raises:
        EnvironmentMissingError: it may not make them.
    """
    optuna = sorted(list_optuna_tables())
    role = database.probe.read_role()
    if role.has_ours and not role.may_use_ours:
        return fail(f"role {role.role} may not use the schema {SCHEMA}", advise_role(role.role))
    tables = database.probe.list_tables(optuna)
    has_optuna = any(table.name == "studies" for table in tables)
    if not has_optuna or all(table.schema != SCHEMA for table in tables):
        with database.engine.connect() as connection:
            check_may_create(connection, with_optuna=not has_optuna)
    if missing := [*_list_missing_rights(tables), *_list_missing_sequences(database, optuna)]:
        detail = f"role {role.role} lacks {'; '.join(missing)}: a worker has to write"
        with database.engine.connect() as connection:
            is_viewer = role.role in {roles.viewer for roles in find_roles(connection)}
        return fail(detail, _READS if is_viewer else advise_role(role.role))
    if not tables:
        return ok(f"role {role.role} may make the tables")
    may_create = any(table.name == "studies" and table.may_insert for table in tables)
    return ok(
        f"role {role.role} may read and write the tables" + ("" if may_create else ", and not create a study")
    )


def _list_missing_rights(tables: Sequence[Row[Any]]) -> list[str]:
    """Rights on tables that a worker needs and does not have, such as `INSERT on studies, trials and 12 more`."""
    found = {table.name: table for table in tables}
    lacking = {
        right: [
            name
            for name in (found if right == "SELECT" else WORKER_RIGHTS)
            if name in found
            and (right == "SELECT" or right in WORKER_RIGHTS[name])
            and not getattr(found[name], f"may_{right.lower()}")
        ]
        for right in ("SELECT", "INSERT", "UPDATE", "DELETE")
    }
    return [f"{right} on {_join(names)}" for right, names in lacking.items() if names]


def _list_missing_sequences(database: Database, optuna: Sequence[str]) -> list[str]:
    written = [name for name in optuna if "INSERT" in WORKER_RIGHTS.get(name, ())]
    names = database.probe.list_closed_sequences(written)
    return [f"USAGE on {_join(names)}"] if names else []


def look_at_schema(database: Database) -> CheckResult:
    """Compare the version of our tables with the one that this program needs."""
    if not database.probe.has_table(f"{SCHEMA}.schema_version"):
        return ok(_NOT_MADE)
    version = database.probe.read_our_version()
    if version == HEAD:
        return ok(f"version {version}")
    detail = f"version {version or '(none)'}, this program needs {HEAD}"
    return fail(detail, UPGRADE_OURS if version is None or version < HEAD else UPGRADE_PROGRAM)


def look_at_optuna_schema(database: Database) -> CheckResult:
    """Compare the version of Optuna's tables with the Optuna that is installed.

    Asked in SQL: Optuna's own check writes where it finds nothing.
    """
    head, known = list_optuna_versions()
    has_tables = database.probe.has_table("studies")
    version = database.probe.read_optuna_version()
    if version is not None and version not in known and not has_tables:
        return fail(
            f"the table alembic_version holds {version!r}: another program's tables are in this schema",
            "use a database of its own: createdb NAME",
        )
    if not has_tables:
        has_ours = database.probe.has_table(f"{SCHEMA}.schema_version")
        schemas = database.probe.list_optuna_schemas() if has_ours else []
        return fail(*explain_misplaced(schemas)) if schemas else ok(_NOT_MADE)
    if version == head:
        return ok(f"version {version}")
    detail = f"version {version or '(none)'}, the installed Optuna needs {head}"
    is_older = version is None or version in known
    return fail(
        detail, UPGRADE_OURS if is_older else "install the Optuna of the other workers: pip install -U optuna"
    )


def list_optuna_tables() -> set[str]:
    """Return the names of Optuna's tables."""
    return {*list_tables(), "alembic_version"}


def _join(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
