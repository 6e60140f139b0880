"""The roles of the store: as this program makes them, and whether all that is there came by them."""

from collections import defaultdict

from anomalyvfm_opt.doctor.check import CheckResult, ok, warn
from anomalyvfm_opt.doctor.database import Database
from anomalyvfm_opt.store.origins import list_unproven
from anomalyvfm_opt.store.powers import is_guarded_now, list_powers, list_settings
from anomalyvfm_opt.store.rights import quote
from anomalyvfm_opt.store.roles import find_roles

_SHOWN = 5
_APPLY = "as a superuser of the server, who alone can take it away: anomalyvfm-opt db roles"


def look_at_roles(database: Database) -> CheckResult:
    """Compare the roles of this store with what store/roles.sql would make of them."""
    with database.engine.connect() as connection:
        roles = find_roles(connection)
        if not roles:
            return ok("no roles: whoever has the store's password may do everything")
        if not is_guarded_now(connection):
            return warn(
                "the roles were applied by an older version of this program, whose workers may write more",
                "as the owner of the tables: anomalyvfm-opt db upgrade",
            )
        powers, settings = list_powers(connection, roles), list_settings(connection, roles)
    if settings:
        found = settings[0]
        return warn(
            f"every session of {found.role} begins with {found.line}, which each of them could set",
            f"unless you chose it: ALTER ROLE {quote(found.role)} RESET {found.line.partition('=')[0]};",
        )
    if powers:
        by_role = defaultdict(list)
        for power in powers:
            by_role[power.role].append(power.may)
        return warn("; ".join(f"{role} can {', '.join(may)}" for role, may in by_role.items()), _APPLY)
    named = sorted({name for each in roles for name in (each.worker, each.viewer)})
    return ok(f"{', '.join(named)}: as this program makes them")


def look_at_origins(database: Database) -> CheckResult:
    """Name complete trials that somebody wrote without running them."""
    if not database.probe.has_table("anomalyvfm_opt.trial_metric"):
        return ok("no trials yet")
    with database.engine.connect() as connection:
        found = list_unproven(connection)
    if not found:
        return ok("every complete trial has the scores that its value comes from")
    shown = "; ".join(
        f"{each.study} trial {', '.join(map(str, each.numbers[:_SHOWN]))}"
        + (f" and {len(each.numbers) - _SHOWN} more" if len(each.numbers) > _SHOWN else "")
        for each in found[:_SHOWN]
    )
    return warn(
        f"complete, and without the scores that a value comes from: {shown}",
        "find out who wrote them; a study that counts is created again: anomalyvfm-opt study delete S",
    )
