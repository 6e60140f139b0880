"""Workers in the store: who is there, when it was last heard of, and whether it was asked to leave.

All times are the database's. A worker that is gone without a word is found by the age of its heartbeat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine, bindparam, text
from sqlalchemy.exc import IntegrityError

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.store.trial_sql import FIND_ATTRIBUTE, load_attributes

Drain = Literal["", "now", "finish"]

_REGISTER = text("""
    INSERT INTO anomalyvfm_opt.worker (name, host, pid, device, version, grace_s)
    VALUES (:name, :host, :pid, :device, :version, :grace_s)
""")
# One statement for both rows, so that a heartbeat is one round trip.
_BEAT = text("""
    WITH renewed AS (
        UPDATE anomalyvfm_opt.lease SET expires_at = now() + make_interval(secs => :grace_s)
         WHERE lease_id = :lease_id RETURNING lease_id),
    alive AS (
        UPDATE anomalyvfm_opt.worker SET heartbeat_at = now() WHERE name = :name RETURNING drain)
    SELECT EXISTS (SELECT FROM renewed) AS has_lease, coalesce((SELECT drain FROM alive), '') AS drain
""")
_END = text("""
    UPDATE anomalyvfm_opt.worker SET ended_at = now(), end_reason = :reason WHERE name = :name AND ended_at IS NULL
""")
_EXPIRE = text("UPDATE anomalyvfm_opt.lease SET expires_at = '-infinity' WHERE worker = :name")
_LIST = text(f"""
    SELECT w.name, w.host, w.pid, w.device, w.version, w.started_at, w.heartbeat_at, w.drain, w.ended_at,
           w.end_reason, now() - w.heartbeat_at > make_interval(secs => w.grace_s) AS is_silent,
           extract(epoch FROM now() - w.heartbeat_at)::float AS silent_s,
           s.study_name AS study, t.number AS trial,
           (SELECT max(i.step) FROM trial_intermediate_values i WHERE i.trial_id = t.trial_id) AS epoch,
           {FIND_ATTRIBUTE.format("parameters")} AS parameters
      FROM anomalyvfm_opt.worker w
      LEFT JOIN anomalyvfm_opt.lease l ON l.worker = w.name AND l.trial_id IS NOT NULL
      LEFT JOIN trials t ON t.trial_id = l.trial_id LEFT JOIN studies s ON s.study_id = t.study_id
     WHERE :with_ended OR (w.ended_at IS NULL AND w.heartbeat_at > now() - make_interval(hours => 24))
     ORDER BY w.started_at, w.name
""")  # noqa: S608
_DRAIN = text("""
    UPDATE anomalyvfm_opt.worker SET drain = :drain WHERE name IN :names AND ended_at IS NULL
""").bindparams(bindparam("names", expanding=True))
_FORGET = text("""
    DELETE FROM anomalyvfm_opt.worker WHERE coalesce(ended_at, heartbeat_at) < now() - make_interval(days => :days)
""")


@dataclass(frozen=True)
class WorkerIdentity:
    """Who a worker is."""

    name: str  # unique
    host: str
    pid: int
    device: str
    version: str


@dataclass(frozen=True)
class WorkerRow:
    """A worker as the store knows it; `study` and `trial` are what it has a lease for, `epoch` how far that is."""

    name: str
    host: str
    pid: int
    device: str
    version: str
    started_at: datetime
    heartbeat_at: datetime
    drain: Drain
    ended_at: datetime | None
    end_reason: str
    is_silent: bool  # for longer than its grace
    silent_s: float
    study: str | None
    trial: int | None
    epoch: int | None = None  # the last one that a value was reported of; None before the first
    epochs: int | None = None  # that the trial has; None where it trains nothing

    @property
    def at_work(self) -> str:
        """What it runs and how far that is: `demo/brick 4, epoch 3/10`; empty without a trial."""
        if self.study is None:
            return ""
        how_far = "" if self.epoch is None or self.epochs is None else f", epoch {self.epoch}/{self.epochs}"
        return f"{self.study} {self.trial}{how_far}"

    @property
    def state(self) -> str:
        """`ended`, `silent`, `draining`, `running` or `idle`."""
        if self.ended_at is not None:
            return "ended"
        if self.is_silent:
            return "silent"
        if self.drain:
            return "draining"
        return "running" if self.trial is not None else "idle"


@dataclass(frozen=True)
class Answer:
    """What a heartbeat learns."""

    has_lease: bool
    drain: Drain


def register_worker(engine: Engine, worker: WorkerIdentity, grace_s: float) -> None:
    """Write down that a worker has begun.

    Raises:
        UsageError: another worker has or had that name.
    """
    try:
        with engine.begin() as connection:
            connection.execute(_REGISTER, {**vars(worker), "grace_s": grace_s})
    except IntegrityError:
        raise UsageError(
            f"a worker {worker.name!r} is there already, or was", "give another --name, or none"
        ) from None


def beat(engine: Engine, name: str, lease_id: int | None, grace_s: float) -> Answer:
    """Say that a worker lives, and extend its lease, if it has one.

    A lease that has expired and that nobody took is extended as well: what makes a trial somebody else's is its
    state, which the reaper changes first. So a database that was away for longer than the grace costs no work.

    Args:
        engine: of the study store.
        name: of the worker.
        lease_id: of its lease; None if it has none.
        grace_s: how long the lease lives from now on.
    """
    with engine.begin() as connection:
        row = connection.execute(_BEAT, {"name": name, "lease_id": lease_id, "grace_s": grace_s}).one()
    return Answer(row.has_lease, row.drain)


def end_worker(engine: Engine, name: str, reason: str) -> None:
    """Write down that a worker has ended, and why."""
    with engine.begin() as connection:
        connection.execute(_END, {"name": name, "reason": reason[-1000:]})


def bury_worker(engine: Engine, name: str, reason: str) -> None:
    """End a worker on behalf of its process, which is known to be dead: its trial need not wait for the grace."""
    with engine.begin() as connection:
        connection.execute(_END, {"name": name, "reason": reason[-1000:]})
        connection.execute(_EXPIRE, {"name": name})


def list_workers(engine: Engine, *, with_ended: bool = False) -> list[WorkerRow]:
    """Return workers that live, and those that went silent within a day; or all that there is a row of."""
    with engine.connect() as connection:
        return [_to_row(row._asdict()) for row in connection.execute(_LIST, {"with_ended": with_ended})]


def _to_row(values: dict[str, Any]) -> WorkerRow:
    stored = values.pop("parameters")
    attributes = load_attributes([] if stored is None else [("parameters", stored)])
    parameters = TrialRecord.from_attributes(attributes).parameters or {}
    epochs = parameters.get("epochs")
    return WorkerRow(**values, epochs=epochs if isinstance(epochs, int) else None)


def request_drain(engine: Engine, names: Sequence[str], drain: Drain) -> None:
    """Ask workers to leave: `now` gives the trial back, `finish` ends it first, empty takes the request back."""
    with engine.begin() as connection:
        connection.execute(_DRAIN, {"names": list(names), "drain": drain})


def forget_workers(engine: Engine, days: int) -> int:
    """Drop the rows of workers that ended, or were last heard of, so many days ago.

    Returns:
        How many.
    """
    with engine.begin() as connection:
        return connection.execute(_FORGET, {"days": days}).rowcount
