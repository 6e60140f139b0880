"""The lease: a worker's right to one running trial, kept alive by its pulse. All times are the database's."""

from dataclasses import dataclass

from sqlalchemy import Engine, text

_ATTACH = text("""
    UPDATE anomalyvfm_opt.lease SET trial_id = :trial_id
     WHERE lease_id = :lease_id AND expires_at > now()
       AND EXISTS (SELECT FROM trials WHERE trial_id = :trial_id AND state = 'RUNNING')
""")
_HAS = text("SELECT EXISTS (SELECT FROM anomalyvfm_opt.lease WHERE lease_id = :lease_id)")
_RELEASE = text("DELETE FROM anomalyvfm_opt.lease WHERE lease_id = :lease_id")


class LeaseLostError(Exception):
    """Another process took the trial over; what this one does with it no longer counts."""


@dataclass(frozen=True)
class Lease:
    """One row of the lease table. It ends a grace after the last heartbeat, once somebody reaps it."""

    lease_id: int

    def attach(self, engine: Engine, trial_id: int) -> None:
        """Write down which trial the lease is for.

        Raises:
            LeaseLostError: the lease has expired or was reaped, or the trial was taken back.
        """
        with engine.begin() as connection:
            updated = connection.execute(_ATTACH, {"lease_id": self.lease_id, "trial_id": trial_id})
        if updated.rowcount == 0:
            raise LeaseLostError

    def is_held(self, engine: Engine) -> bool:
        """Whether nobody has taken it away."""
        with engine.connect() as connection:
            return bool(connection.scalar(_HAS, {"lease_id": self.lease_id}))

    def release(self, engine: Engine) -> None:
        """Give the ticket back, or let a finished trial's lease go."""
        with engine.begin() as connection:
            connection.execute(_RELEASE, {"lease_id": self.lease_id})
