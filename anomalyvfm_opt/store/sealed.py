"""What the locked images say stays sealed while a round of confirmation runs.

Whoever sees half of it can stop when it looks good. So a trial of a `#confirm` study completes with minus infinity
as its value in Optuna's tables, which nobody takes for an AUROC. When nothing of the study waits or runs any more,
the database writes the values, out of the metrics that the verdict reads: by a function of the owner's, since no
worker may change a trial that is complete.
"""

from sqlalchemy import Connection, Engine, text

from anomalyvfm_opt.spec.study_name import CONFIRM_LIKE
from anomalyvfm_opt.store.engine import autocommit

SEALED = float("-inf")
_FIND_OPEN = text(f"""
    SELECT t.trial_id FROM trials t JOIN studies s ON s.study_id = t.study_id
      LEFT JOIN trial_values v ON v.trial_id = t.trial_id AND v.objective = 0
     WHERE t.study_id = :study_id
       AND (t.state = 'RUNNING'
            OR (t.state = 'COMPLETE' AND v.value_type = 'INF_NEG' AND s.study_name LIKE '{CONFIRM_LIKE}'))
""")  # noqa: S608
_UNSEAL = text("SELECT anomalyvfm_opt.unseal(:study_id)")


def unseal(engine: Engine, study_id: int) -> int:
    """Write the values of a `#confirm` study's complete trials if its round is over; it is idempotent.

    Returns:
        How many were written.
    """
    with autocommit(engine) as connection:
        return int(connection.scalar(_UNSEAL, {"study_id": study_id}) or 0)


def find_open(connection: Connection, study_id: int) -> set[int]:
    """Return the ids of a study's trials whose end nobody may see yet: they run, or their value is sealed."""
    return set(connection.scalars(_FIND_OPEN, {"study_id": study_id}))
