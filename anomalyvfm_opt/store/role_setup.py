"""Set the three roles of a study store up: make them, give them their rights and their passwords."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Engine

from anomalyvfm_opt.store.passwords import find_passwords, set_passwords
from anomalyvfm_opt.store.powers import Power, list_powers
from anomalyvfm_opt.store.roles import Roles, apply_roles, find_owner, find_roles
from anomalyvfm_opt.store.schema import prepare_database


@dataclass(frozen=True)
class SetUpRoles:
    """Roles that were set up, and what is left to do.

    Args:
        roles: their names.
        powers: that they have beside the tables, and that a superuser alone takes away.
        without_password: those that got none now; they may have one from before.
    """

    roles: Roles
    powers: Sequence[Power]
    without_password: Sequence[str]


def set_up_roles(engine: Engine, wished: Mapping[str, str], passfiles: Sequence[Path]) -> SetUpRoles:
    """Make the roles that are missing, and give each exactly its rights; it is idempotent.

    Args:
        engine: of the administrator, or of the owner of the tables if the roles are there; it answers.
        wished: names of roles by kind (`owner`, `worker`, `viewer`); the others keep the name that they have.
        passfiles: with passwords of worker and viewer, in libpq's format.

    Raises:
        EnvironmentMissingError: the user may not do this, or the tables are those of another version.
        UsageError: the names do not make three roles, or a password file has none for them.
    """
    prepare_database(engine)
    with engine.connect() as connection:
        there = find_roles(connection) or [Roles(find_owner(connection))]
    chosen = replace(there[0], **wished)
    passwords = find_passwords(passfiles, (chosen.worker, chosen.viewer))
    apply_roles(engine, chosen)
    set_passwords(engine, passwords)
    with engine.connect() as connection:
        powers = list_powers(connection, [chosen])
    return SetUpRoles(chosen, powers, [name for name in (chosen.worker, chosen.viewer) if name not in passwords])
