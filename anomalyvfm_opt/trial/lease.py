"""The lease: a worker's right to one running trial, kept alive by a heartbeat. All times are the database's."""

import logging
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

_log = logging.getLogger(__name__)

_ATTACH = text("""
    UPDATE anomalyvfm_opt.lease SET trial_id = :trial_id
     WHERE lease_id = :lease_id AND expires_at > now()
""")
_RENEW = text("""
    UPDATE anomalyvfm_opt.lease SET expires_at = now() + make_interval(secs => :grace_s)
     WHERE lease_id = :lease_id AND expires_at > now()
""")
_RELEASE = text("DELETE FROM anomalyvfm_opt.lease WHERE lease_id = :lease_id")


class LeaseLostError(Exception):
    """Another process took the trial over; what this one does with it no longer counts."""


@dataclass(frozen=True)
class Lease:
    """One row of the lease table. It ends `grace_s` seconds after the last heartbeat."""

    lease_id: int
    study_id: int
    grace_s: float

    def attach(self, engine: Engine, trial_id: int) -> None:
        """Write down which trial the lease is for.

        Raises:
            LeaseLostError: the lease has expired or was reaped.
        """
        with engine.begin() as connection:
            updated = connection.execute(_ATTACH, {"lease_id": self.lease_id, "trial_id": trial_id})
        if updated.rowcount == 0:
            raise LeaseLostError

    def renew(self, engine: Engine) -> bool:
        """Extend the lease; False if it has expired or is gone."""
        with engine.begin() as connection:
            updated = connection.execute(_RENEW, {"lease_id": self.lease_id, "grace_s": self.grace_s})
        return updated.rowcount > 0

    def release(self, engine: Engine) -> None:
        """Give the ticket back, or let a finished trial's lease go."""
        with engine.begin() as connection:
            connection.execute(_RELEASE, {"lease_id": self.lease_id})


class Heartbeat:
    """Renews a lease from a thread for the length of a `with`.

    A database that is away for a while does not end it: it tries again at the next beat. If the lease is gone by
    then, `is_lost` says so.
    """

    def __init__(self, engine: Engine, lease: Lease) -> None:
        self._engine = engine
        self._lease = lease
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether the lease was found to be gone."""
        return self._lost.is_set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._lease.grace_s / 6):
            try:
                if not self._lease.renew(self._engine):
                    self._lost.set()
                    return
            except SQLAlchemyError as error:
                _log.warning("heartbeat failed, will be tried again: %s", str(error).splitlines()[0])
