"""What other hosts get for their workers: a role that runs trials and no more, and its password in a file."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url, text

from anomalyvfm_opt.store.embedded.cluster import write_private
from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.passfile import format_line
from anomalyvfm_opt.store.passwords import set_password
from anomalyvfm_opt.store.roles import Roles, apply_roles, find_owner, find_roles
from anomalyvfm_opt.store.schema import prepare_database

_HAS_PASSWORD = text("SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = :role")


@dataclass(frozen=True)
class Invitation:
    """How a worker on another host comes in.

    Args:
        role: that runs trials and no more.
        urls: of the database, best first; without a password.
        passfile: to be copied there.
        is_old_password: whether the role had a password that is not in that file; then it is not there.
    """

    role: str
    urls: tuple[str, ...]
    passfile: Path
    is_old_password: bool


def invite_workers(cluster: EmbeddedCluster) -> Invitation:
    """Apply the roles of store/roles.sql to a running cluster that listens for others; workers get a password.

    The cluster's own user is a superuser, who may do everything to the database and read the files of its server.
    The same again keeps the password, and one that somebody gave by hand is left alone.

    Raises:
        EnvironmentMissingError: the tables are those of another version, or workers held them all the time.
    """
    passfile = cluster.home / "postgres.workers.passfile"
    engine = make_engine(cluster.reach())
    try:
        prepare_database(engine)
        with engine.connect() as connection:
            owner = find_owner(connection)
            viewer = next((roles.viewer for roles in find_roles(connection)), Roles(owner).viewer)
        roles = Roles(owner, viewer=viewer)
        apply_roles(engine, roles)
        password = _read_password(passfile)
        with engine.begin() as connection:
            is_old = bool(connection.scalar(_HAS_PASSWORD, {"role": roles.worker})) and not password
            if not password and not is_old:
                password = secrets.token_urlsafe(32)
                set_password(connection, roles.worker, password)
    finally:
        engine.dispose()
    urls = [make_url(url).set(username=roles.worker) for url in cluster.urls_for_others()]
    if password:
        write_private(passfile, "".join(format_line(url.host or "", roles.worker, password) for url in urls))
    return Invitation(roles.worker, tuple(url.render_as_string() for url in urls), passfile, is_old)


def _read_password(passfile: Path) -> str:
    """Return the password of its last line, or nothing; ours hold no character that a password file escapes."""
    return passfile.read_text().strip().rpartition(":")[2] if passfile.is_file() else ""
