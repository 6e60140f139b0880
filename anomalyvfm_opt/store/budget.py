"""The ticket: a study's permission to start one more trial.

Used tickets are counted, never kept in a counter that could drift:
used = complete + pruned + failed for good + held, where held are the leases of trials that are not settled.
A trial that is given back ends as FAIL with an outcome that is not final, so it frees its ticket, and its retry
takes one like any other trial.
"""

from dataclasses import dataclass

from sqlalchemy import Engine, text

from anomalyvfm_opt.spec.study_name import SIBLINGS_LIKE
from anomalyvfm_opt.store.engine import autocommit
from anomalyvfm_opt.store.leases import Lease

_COUNT_TEXT = """
    SELECT count(*) FILTER (WHERE t.state = 'COMPLETE') AS complete,
           count(*) FILTER (WHERE t.state = 'PRUNED') AS pruned,
           count(*) FILTER (WHERE t.state = 'FAIL' AND coalesce(o.is_final, false)) AS failed,
           count(*) FILTER (WHERE t.state = 'FAIL' AND NOT o.is_final) AS given_back,
           count(*) FILTER (WHERE t.state = 'RUNNING') AS running,
           count(*) FILTER (WHERE t.state = 'WAITING') AS waiting,
           (SELECT count(*) FROM anomalyvfm_opt.lease l
              LEFT JOIN trials h ON h.trial_id = l.trial_id
              LEFT JOIN anomalyvfm_opt.trial_outcome ho ON ho.trial_id = l.trial_id
             WHERE l.study_id = {study}
               AND (l.trial_id IS NULL OR h.state = 'RUNNING' OR (h.state = 'FAIL' AND ho.trial_id IS NULL))
           ) AS held,
           (SELECT count(*) FROM anomalyvfm_opt.lease l
             WHERE l.study_id = {study} AND l.trial_id IS NULL) AS asking,
           (SELECT budget FROM anomalyvfm_opt.study WHERE study_id = {study}) AS budget
      FROM trials t LEFT JOIN anomalyvfm_opt.trial_outcome o ON o.trial_id = t.trial_id
     WHERE t.study_id = {study}
"""
_COUNT_ONE = _COUNT_TEXT.format(study=":study_id")
_COUNT = text(_COUNT_ONE)
_COUNT_ALL = text(f"""
    SELECT s.study_id, c.* FROM anomalyvfm_opt.study s, LATERAL ({_COUNT_TEXT.format(study="s.study_id")}) AS c
""")  # noqa: S608
# Sent in one call: the count begins when the lock is ours, so it sees every ticket that was taken before.
# A sibling has no trial but those that wait: one that is just given back counts for nothing until its copy waits.
_TAKE = text(f"""
    SELECT FROM anomalyvfm_opt.study WHERE study_id = :study_id FOR UPDATE;
    INSERT INTO anomalyvfm_opt.lease (study_id, worker, expires_at)
    SELECT s.study_id, :worker, now() + make_interval(secs => :grace_s)
      FROM anomalyvfm_opt.study s, ({_COUNT_ONE}) AS c
     WHERE s.study_id = :study_id AND s.state = 'active' AND c.complete + c.pruned + c.failed + c.held < s.budget
       AND (c.waiting > c.asking
            OR EXISTS (SELECT FROM studies n
                        WHERE n.study_id = s.study_id AND n.study_name NOT LIKE '{SIBLINGS_LIKE}'))
    RETURNING lease_id
""")  # noqa: S608


@dataclass(frozen=True)
class Usage:
    """Trials of a study by state; `failed` are those that are not tried again, `held` the tickets out now.

    `given_back` are those that were stopped or lost: each has a copy, which counts, and counts for nothing itself.
    `asking` are those of the tickets out whose worker has no trial yet, as far as the store knows.
    The budget of a sibling study grows with what is planned; that of a deleted study is None.
    """

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int
    held: int
    asking: int = 0
    given_back: int = 0
    budget: int | None = None

    @property
    def is_used_up(self) -> bool:
        """Whether there is no ticket left to take now."""
        return self.used >= (self.budget or 0)

    @property
    def done(self) -> int:
        """Trials that are over and not tried again: tickets that are used up."""
        return self.complete + self.pruned + self.failed

    @property
    def used(self) -> int:
        """Tickets that are used up or out."""
        return self.done + self.held


def count_usage(engine: Engine, study_id: int) -> Usage:
    """Count a study's trials and tickets."""
    with autocommit(engine) as connection:
        return Usage(**connection.execute(_COUNT, {"study_id": study_id}).one()._asdict())


def count_usages(engine: Engine) -> dict[int, Usage]:
    """Count the trials and tickets of all studies of ours, by their ids, in one statement."""
    with autocommit(engine) as connection:
        rows = [row._asdict() for row in connection.execute(_COUNT_ALL)]
    return {row.pop("study_id"): Usage(**row) for row in rows}


def take_ticket(engine: Engine, study_id: int, worker: str, grace_s: float) -> Lease | None:
    """Take a ticket as a new lease, or None if the budget is used up or out.

    The study's row is locked while counting, so that two workers never take the last ticket both.
    A study that was deleted, paused or stopped has none, and a sibling none beyond the trials that wait.
    """
    with autocommit(engine) as connection:
        lease_id = connection.scalar(_TAKE, {"study_id": study_id, "worker": worker, "grace_s": grace_s})
    return None if lease_id is None else Lease(int(lease_id))
