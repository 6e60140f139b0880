"""Values of confirmations are sealed until a round is over, also those of rounds that run now."""

from alembic import op

revision = "0006"
down_revision = "0005"

# A round is open while a trial waits, runs, or ended without an outcome: a reaper gives it one, perhaps a copy.
_IS_OPEN = """
    EXISTS (SELECT FROM trials o LEFT JOIN anomalyvfm_opt.trial_outcome e ON e.trial_id = o.trial_id
             WHERE o.study_id = {study}
               AND (o.state IN ('WAITING', 'RUNNING') OR (o.state = 'FAIL' AND e.trial_id IS NULL)))
"""


def upgrade() -> None:
    """Add the function that unseals, and seal what is there."""
    op.execute(f"""
        DO $make$
        BEGIN
            EXECUTE format($function$
                CREATE OR REPLACE FUNCTION anomalyvfm_opt.unseal(of_study integer) RETURNS integer
                    LANGUAGE plpgsql SECURITY DEFINER SET search_path = %s, pg_temp AS $body$
                DECLARE
                    written integer;
                BEGIN
                    IF NOT EXISTS (SELECT FROM studies WHERE study_id = of_study AND study_name LIKE '%%#confirm')
                       OR {_IS_OPEN.format(study="of_study")} THEN
                        RETURN 0;
                    END IF;
                    UPDATE trial_values v SET value = m.image_auroc, value_type = 'FINITE'
                      FROM trials t JOIN anomalyvfm_opt.trial_metric m ON m.trial_id = t.trial_id
                     WHERE t.study_id = of_study AND t.state = 'COMPLETE'
                       AND v.trial_id = t.trial_id AND v.value_type = 'INF_NEG';
                    GET DIAGNOSTICS written = ROW_COUNT;
                    RETURN written;
                END
                $body$
            $function$, (SELECT quote_ident(n.nspname) FROM pg_class c
                           JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('trials')));
        END
        $make$
    """)  # noqa: S608 - our own
    op.execute(f"""
        UPDATE trial_values v SET value = NULL, value_type = 'INF_NEG'
          FROM trials t JOIN studies s ON s.study_id = t.study_id
         WHERE v.trial_id = t.trial_id AND t.state = 'COMPLETE' AND s.study_name LIKE '%#confirm'
           AND {_IS_OPEN.format(study="s.study_id")}
    """)  # noqa: S608
