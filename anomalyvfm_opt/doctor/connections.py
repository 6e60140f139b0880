"""Connections that the planned workers need, against what the server leaves."""

import math
from dataclasses import dataclass

from anomalyvfm_opt.doctor.check import CheckResult, fail, ok, warn
from anomalyvfm_opt.doctor.database import Database
from anomalyvfm_opt.store.engine import engine_options
from anomalyvfm_opt.words import counted

_NEARLY_FULL = 0.8


@dataclass(frozen=True)
class Limit:
    """One of the limits that connections run into."""

    name: str
    size: int
    taken: int  # by others than this program, and what is reserved for superusers
    fix: str  # with SIZE where the number goes

    @property
    def free(self) -> int:
        """What it leaves to workers and dashboard."""
        return max(self.size - self.taken, 0)


def count_connections_per_process() -> int:
    """Count the connections that a worker or a dashboard keeps at most: our pool and Optuna's, of one size."""
    return 2 * int(engine_options()["pool_size"])


def look_at_connections(database: Database, workers: int) -> CheckResult:
    """Say whether so many workers and a dashboard find connections, beside what others use now."""
    name = engine_options()["connect_args"]["application_name"]
    row = database.probe.count_connections(name)
    reserved = 0 if row.is_superuser else row.reserved
    taken = row.in_use - row.ours + reserved
    fix = "set max_connections = SIZE on the server, and restart it"
    limits = [Limit("max_connections", row.max_connections, taken, fix)]
    if row.role_limit >= 0 and not row.is_superuser:
        taken = row.in_use_by_role - row.ours_by_role
        fix = f"ALTER ROLE {row.role} CONNECTION LIMIT SIZE"
        limits.append(Limit(f"the limit of role {row.role}", row.role_limit, taken, fix))
    if row.database_limit >= 0 and not row.is_superuser:
        fix = f"ALTER DATABASE {row.database} CONNECTION LIMIT SIZE"
        taken = row.in_use_here - row.ours
        limits.append(Limit(f"the limit of database {row.database}", row.database_limit, taken, fix))
    return judge_connections(workers, min(limits, key=lambda limit: limit.free))


def judge_connections(workers: int, limit: Limit) -> CheckResult:
    """Judge whether a limit leaves enough.

    Args:
        workers: planned, over all hosts; those that already run are among them.
        limit: the tightest one.
    """
    each = count_connections_per_process()
    needed = (workers + 1) * each
    detail = (
        f"{counted(workers, 'worker')} and a dashboard need up to {needed} ({each} each);"
        f" {limit.name} ({limit.size}) leaves {limit.free}"
    )
    fitting = max(limit.free // each - 1, 0)
    size = limit.taken + math.ceil(needed / _NEARLY_FULL)  # so that it is not `nearly all` at once
    fix = limit.fix.replace("SIZE", str(size))
    if needed > limit.free:
        return fail(detail, f"{fix}; or run at most {counted(fitting, 'worker')}" if fitting else fix)
    if needed > _NEARLY_FULL * limit.free:
        return warn(f"{detail}: nearly all", f"run at most {counted(fitting, 'worker')}, or {fix}")
    return ok(detail)
