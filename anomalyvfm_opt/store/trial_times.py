"""How long the trials of a study took, by the database's clock."""

from sqlalchemy import Engine, text

_MEAN = text("""
    SELECT avg(extract(epoch FROM t.datetime_complete - t.datetime_start))::float FROM trials t
     WHERE t.study_id = :study_id AND t.state IN ('COMPLETE', 'PRUNED')
       AND EXISTS (SELECT FROM trial_user_attributes u WHERE u.trial_id = t.trial_id AND u.key = 'parameters')
""")


def find_mean_seconds(engine: Engine, study_id: int) -> float | None:
    """Return the mean duration of the trained trials that are over; None before the first."""
    with engine.connect() as connection:
        found: float | None = connection.scalar(_MEAN, {"study_id": study_id})
    return found
