"""The method that a study's numbers are computed by; there was one before."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column."""
    op.execute("ALTER TABLE anomalyvfm_opt.study ADD COLUMN method INTEGER NOT NULL DEFAULT 1")
