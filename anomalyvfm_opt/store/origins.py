"""Complete trials that no worker of ours can have run: they have a value, and no scores that it comes from."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

# A worker writes scores before it completes a trial (store/scores.py), and an import brings them with it.
_FIND = text("""
    SELECT s.study_name AS study, array_agg(t.number ORDER BY t.number) AS numbers
      FROM trials t JOIN studies s ON s.study_id = t.study_id
      JOIN anomalyvfm_opt.study o ON o.study_id = t.study_id
     WHERE t.state = 'COMPLETE'
       AND NOT EXISTS (SELECT FROM anomalyvfm_opt.trial_metric m WHERE m.trial_id = t.trial_id)
     GROUP BY s.study_name ORDER BY s.study_name
""")


@dataclass(frozen=True)
class Unproven:
    """The numbers of such trials of one study."""

    study: str
    numbers: tuple[int, ...]


def list_unproven(connection: Connection) -> list[Unproven]:
    """Return the complete trials without scores, by study."""
    return [Unproven(row.study, tuple(row.numbers)) for row in connection.execute(_FIND)]
