"""Workers as rows, studies that can be paused, and the files that trials leave behind."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables and the columns."""
    op.execute("""
        ALTER TABLE anomalyvfm_opt.study
            ADD COLUMN state TEXT NOT NULL DEFAULT 'active'
                CONSTRAINT study_state CHECK (state IN ('active', 'paused', 'stopped')),
            ADD COLUMN state_reason TEXT NOT NULL DEFAULT ''
    """)
    op.execute("""
        CREATE TABLE anomalyvfm_opt.worker (
            name TEXT PRIMARY KEY,
            host TEXT NOT NULL,
            pid INTEGER NOT NULL,
            device TEXT NOT NULL,
            version TEXT NOT NULL,
            grace_s DOUBLE PRECISION NOT NULL,
            started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
            heartbeat_at TIMESTAMPTZ NOT NULL DEFAULT now(),
            drain TEXT NOT NULL DEFAULT '' CONSTRAINT worker_drain CHECK (drain IN ('', 'now', 'finish')),
            ended_at TIMESTAMPTZ,
            end_reason TEXT NOT NULL DEFAULT ''
        )
    """)
    op.execute("""
        CREATE TABLE anomalyvfm_opt.artifact (
            trial_id INTEGER NOT NULL REFERENCES trials (trial_id) ON DELETE CASCADE,
            kind TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            size_bytes BIGINT NOT NULL,
            PRIMARY KEY (trial_id, kind)
        )
    """)
    op.execute("CREATE INDEX ix_anomalyvfm_opt_artifact_sha256 ON anomalyvfm_opt.artifact (sha256)")
