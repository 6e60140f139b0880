"""A store with an owner, a worker and a viewer on somebody else's PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.roles import Roles, apply_roles
from anomalyvfm_opt.store.schema import upgrade_database
from anomalyvfm_opt.store.url import normalise_url
from tests.integration.external_server import ADMIN, DATABASE, USER, ExternalServer

ROLES = Roles(USER, "hands", "eyes")


@contextmanager
def applied(external_server: ExternalServer) -> Iterator[ExternalServer]:
    """An empty store, whose tables are an ordinary user's, with roles as its administrator made them."""
    external_server.empty()
    owner = make_engine(external_server.local_url)
    upgrade_database(owner)
    admin = make_engine(f"{external_server.url_of(ADMIN, DATABASE)}?passfile={external_server.passfile}")
    apply_roles(admin, ROLES)
    admin.dispose()
    owner.dispose()
    for role in (ROLES.worker, ROLES.viewer):
        external_server.set_password(role)
    try:
        yield external_server
    finally:
        external_server.admin(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        for role in (ROLES.worker, ROLES.viewer):
            external_server.admin(f"DROP ROLE {role}")
        external_server.empty()


def url_of(server: ExternalServer, role: str) -> str:
    """For use in the tests' own process."""
    return normalise_url(f"{server.url_of(role, DATABASE)}?passfile={server.passfile}")


def as_role(server: ExternalServer, role: str) -> dict[str, str]:
    """How a user points the program at this server, with a role's name."""
    return {**server.environment, "ANOMALYVFM_OPT_DB_URL": server.url_of(role, DATABASE)}


def attempt(server: ExternalServer, role: str, sql: str) -> None:
    """Run SQL as a role, in a transaction that is committed."""
    with psycopg2.connect(server.url_of(role, DATABASE), passfile=str(server.passfile)) as connection:
        connection.cursor().execute(sql)
    connection.close()
