"""Confirmations, the looks at locked images, predictions, and metrics under shared draws of scenes."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the tables and the column."""
    op.execute("ALTER TABLE anomalyvfm_opt.study ADD COLUMN judged INTEGER")
    op.execute("""
        CREATE TABLE anomalyvfm_opt.trial_resample (
            trial_id INTEGER NOT NULL REFERENCES trials (trial_id) ON DELETE CASCADE,
            metric TEXT NOT NULL,
            draws JSONB NOT NULL,
            PRIMARY KEY (trial_id, metric)
        )
    """)
    op.execute("""
        CREATE TABLE anomalyvfm_opt.confirmation (
            study_id INTEGER NOT NULL REFERENCES studies (study_id) ON DELETE CASCADE,
            round INTEGER NOT NULL,
            plan JSONB NOT NULL,
            device TEXT NOT NULL DEFAULT '',
            made_at TIMESTAMPTZ NOT NULL DEFAULT now(),
            made_by TEXT NOT NULL,
            PRIMARY KEY (study_id, round)
        )
    """)
    op.execute("""
        CREATE TABLE anomalyvfm_opt.prediction (
            study_id INTEGER NOT NULL REFERENCES studies (study_id) ON DELETE CASCADE,
            source TEXT NOT NULL,
            made_at TIMESTAMPTZ NOT NULL DEFAULT now(),
            round INTEGER NOT NULL,
            gain DOUBLE PRECISION NOT NULL,
            note TEXT NOT NULL DEFAULT '',
            made_by TEXT NOT NULL,
            PRIMARY KEY (study_id, source, made_at)
        )
    """)
    op.execute("""
        CREATE TABLE anomalyvfm_opt.look (
            study_name TEXT NOT NULL,
            round INTEGER NOT NULL,
            arm TEXT NOT NULL,
            seed BIGINT NOT NULL,
            trial_number INTEGER NOT NULL,
            looked_at TIMESTAMPTZ NOT NULL DEFAULT now(),
            lock_sha256 TEXT NOT NULL,
            worker TEXT NOT NULL,
            PRIMARY KEY (study_name, round, arm, seed, trial_number, looked_at)
        )
    """)
    op.execute("CREATE INDEX ix_anomalyvfm_opt_look_lock_sha256 ON anomalyvfm_opt.look (lock_sha256)")
    op.execute("""
        CREATE TABLE anomalyvfm_opt.look_image (
            lock_sha256 TEXT NOT NULL,
            image_sha256 TEXT NOT NULL,
            PRIMARY KEY (lock_sha256, image_sha256)
        )
    """)
