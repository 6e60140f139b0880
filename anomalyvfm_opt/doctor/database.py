"""The study store's server: whether it answers, who we are there, and how far away it is."""

import os
from pathlib import Path
from statistics import median

from sqlalchemy import Engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from anomalyvfm_opt.doctor.check import CheckResult, fail, ok, skip, warn
from anomalyvfm_opt.files import place_in_home
from anomalyvfm_opt.store.probe import ServerProbe
from anomalyvfm_opt.store.url import URL_VARIABLE, normalise_url, read_variable, shown

_OLDEST_VERSION, _RECOMMENDED_VERSION = 13, 16
_SLOW_MS = 50.0
_STATEMENTS_PER_TRIAL = 100  # about, with its reports; measured on Optuna's storage
_CLOCK_TOLERANCE_S = 2.0
_SAMPLES = 5


class Database:
    """The study store as the checks look at it, which read and never write.

    Args:
        flag: value of `--db`; None if it was not given.
    """

    def __init__(self, flag: str | None) -> None:
        self.source = "--db" if flag is not None else URL_VARIABLE
        self.url = flag if flag is not None else read_variable()
        self.is_embedded = self.url is None  # then the check of the embedded one sets `url`, if it runs
        self._probe: ServerProbe | None = None

    @property
    def probe(self) -> ServerProbe:
        """What answers questions about the server."""
        if self._probe is None:
            raise RuntimeError("no connection: a check lacks `database` among its needs")
        return self._probe

    @property
    def engine(self) -> Engine:
        """For functions of the store that only read."""
        return self.probe.engine

    def connect(self) -> str:
        """Connect, within seconds; returns the URL as it may be shown.

        Raises:
            UsageError: not a URL of PostgreSQL.
            EnvironmentMissingError: it cannot be used.
        """
        url = normalise_url(self.url or "", self.source)
        self._probe = ServerProbe(url)
        return shown(url)

    def close(self) -> None:
        """Give the connection back."""
        if self._probe is not None:
            self._probe.close()


def look_at_connection(database: Database) -> CheckResult:
    """Say whether the server answers and lets us in."""
    if database.url is None:
        return skip("the embedded database does not run; it starts by itself when needed")
    return ok(database.connect())


def look_at_password(database: Database) -> CheckResult:
    """Say where the password comes from, and whether others can read it."""
    if database.is_embedded:
        return skip("the embedded database keeps its own password file")
    try:
        url = make_url(database.url or "")
    except (ArgumentError, ValueError):
        return skip(f"{database.source} is not a URL")
    if url.password:
        return skip(f"{database.source} has a password in it, which is refused: see `database`")
    return _look_at_passfile(url)


def _look_at_passfile(url: URL) -> CheckResult:
    """Look at the password file that libpq would read: passfile= in the URL, else PGPASSFILE, else ~/.pgpass."""
    named = url.query.get("passfile") or os.environ.get("PGPASSFILE")
    path = Path(str(named)) if named else place_in_home(".pgpass")
    if not path.is_file():
        if named:
            return warn(f"no password file {path}", "write HOST:PORT:DATABASE:USER:PASSWORD into it, mode 0600")
        return ok("no password file; none is needed if the server lets you in")
    if not os.access(path, os.R_OK):
        return warn(f"the password file {path} cannot be read by you", f"chown it, then chmod 600 {path}")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        return warn(f"{path} has mode {mode:04o}, so PostgreSQL's library ignores it", f"chmod 600 {path}")
    return ok(f"{path}, mode {mode:04o}")


def look_at_server(database: Database) -> CheckResult:
    """Version, encoding, and whether it can be written to at all."""
    row = database.probe.read_server()
    detail = f"PostgreSQL {row.version}, encoding {row.encoding}"
    if row.is_standby:
        return fail(f"{detail}: a standby, which is read-only", "name the primary server, not its standby")
    if row.is_read_only:
        return fail(
            f"{detail}: transactions are read-only by default",
            "ALTER ROLE or ALTER DATABASE ... RESET default_transaction_read_only, or connect as another role",
        )
    if row.number < _OLDEST_VERSION * 10_000:
        return fail(f"{detail}: older than {_OLDEST_VERSION}", f"use PostgreSQL {_RECOMMENDED_VERSION} or newer")
    if row.encoding != "UTF8":
        return warn(
            f"{detail}: names outside of it cannot be stored",
            "make another database: createdb --encoding=UTF8 --template=template0 NAME",
        )
    if row.number < _RECOMMENDED_VERSION * 10_000:
        return warn(f"{detail}: works, but is old", f"use PostgreSQL {_RECOMMENDED_VERSION} or newer")
    return ok(detail)


def look_at_latency(database: Database) -> CheckResult:
    """Measure how long one statement takes, there and back."""
    return judge_latency(median(database.probe.time_statements(_SAMPLES)))


def judge_latency(round_trip_ms: float) -> CheckResult:
    """Judge whether a worker's statements would take longer than its user expects."""
    detail = f"{round_trip_ms:.1f} ms a statement"
    if round_trip_ms <= _SLOW_MS:
        return ok(detail)
    seconds = round_trip_ms * _STATEMENTS_PER_TRIAL / 1000
    return warn(
        f"{detail}: about {seconds:.0f} s a trial spent waiting",
        "run workers near the database, or see whether its host or the network is overloaded",
    )


def look_at_clock(database: Database) -> CheckResult:
    """Compare the server's clock with this host's, from the sample with the shortest way."""
    round_trip_s, skew_s = min(database.probe.compare_clocks(_SAMPLES))
    return judge_clock(skew_s, round_trip_s / 2)


def judge_clock(skew_s: float, uncertainty_s: float) -> CheckResult:
    """Say how far the clocks differ, never as a failure: leases use the database's clock alone.

    Args:
        skew_s: how far the database's clock is ahead of this host's.
        uncertainty_s: half of the round trip, which may lie on either side.
    """
    where = "ahead of" if skew_s > 0 else "behind"
    detail = f"the database's clock is {abs(skew_s):.3f} s {where} this host's (+/- {uncertainty_s:.3f} s)"
    if abs(skew_s) - uncertainty_s <= _CLOCK_TOLERANCE_S:
        return ok(detail)
    return warn(
        f"{detail}; leases use the database's clock alone, so trials are safe, but times in logs and in the"
        " dashboard do not agree",
        "set both clocks by NTP (timedatectl set-ntp true)",
    )
