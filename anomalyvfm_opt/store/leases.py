"""Leases: a worker's right to one running trial, kept alive by its pulse. All times are the database's."""

from dataclasses import dataclass

from sqlalchemy import Engine, text

from anomalyvfm_opt.store.engine import autocommit

_ATTACH = text("""
    UPDATE anomalyvfm_opt.lease SET trial_id = :trial_id
     WHERE lease_id = :lease_id AND expires_at > now()
       AND EXISTS (SELECT FROM trials WHERE trial_id = :trial_id AND state = 'RUNNING')
""")
_HAS = text("SELECT EXISTS (SELECT FROM anomalyvfm_opt.lease WHERE lease_id = :lease_id)")
_RELEASE = text("DELETE FROM anomalyvfm_opt.lease WHERE lease_id = :lease_id")
_ORPHANS = text("""
    SELECT t.trial_id FROM trials t
      LEFT JOIN anomalyvfm_opt.lease l ON l.trial_id = t.trial_id
      LEFT JOIN anomalyvfm_opt.trial_outcome o ON o.trial_id = t.trial_id
     WHERE t.study_id = :study_id AND (t.state = 'RUNNING' OR (t.state = 'FAIL' AND o.trial_id IS NULL))
       AND (l.expires_at < now()
            OR (l.lease_id IS NULL AND NOT EXISTS (
                SELECT 1 FROM anomalyvfm_opt.lease open
                 WHERE open.study_id = :study_id AND open.trial_id IS NULL AND open.expires_at > now())))
""")
# of no trial, or of one that came to its end before its lease was let go
_DROP_EXPIRED = text("""
    DELETE FROM anomalyvfm_opt.lease l
     WHERE l.study_id = :study_id AND l.expires_at < now()
       AND (l.trial_id IS NULL
            OR EXISTS (SELECT FROM trials t WHERE t.trial_id = l.trial_id AND t.state IN ('COMPLETE', 'PRUNED'))
            OR EXISTS (SELECT FROM anomalyvfm_opt.trial_outcome o WHERE o.trial_id = l.trial_id))
""")


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
        """Return whether nobody has taken it away."""
        with engine.connect() as connection:
            return bool(connection.scalar(_HAS, {"lease_id": self.lease_id}))

    def release(self, engine: Engine) -> None:
        """Give the ticket back, or let a finished trial's lease go."""
        with engine.begin() as connection:
            connection.execute(_RELEASE, {"lease_id": self.lease_id})


def sweep_leases(engine: Engine, study_id: int) -> set[int]:
    """Drop the expired leases that no trial needs any more, and return the ids of the trials without a worker.

    A trial is such an orphan if its lease has expired, or if it has none and no worker of this study stands
    between its ticket and its trial.
    """
    with autocommit(engine) as connection:
        connection.execute(_DROP_EXPIRED, {"study_id": study_id})
        return set(connection.scalars(_ORPHANS, {"study_id": study_id}))
