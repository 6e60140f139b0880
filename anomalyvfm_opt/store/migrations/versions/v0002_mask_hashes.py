"""Hashes of the masks; NULL in studies that were made before, whose masks nobody hashed."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns."""
    op.execute("ALTER TABLE anomalyvfm_opt.study ADD COLUMN masks_sha256 TEXT")
    op.execute("ALTER TABLE anomalyvfm_opt.study_image ADD COLUMN mask_sha256 TEXT")
