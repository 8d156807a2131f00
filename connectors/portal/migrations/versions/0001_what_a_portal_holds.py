"""What a portal holds: entries and heads."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the portal's two tables."""
    op.create_table(
        "portal_entry",
        sa.Column("organization", sa.String(32), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("lane", sa.String(16), nullable=False),
        sa.Column("pos", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("conversation", sa.String(32), nullable=True),
        sa.Column("version", sa.Integer, nullable=True),
        sa.Column("occurred_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=True),
        sa.Column("personal", sa.LargeBinary, nullable=True),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.Column("arrived_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("organization", "seq", name="portal_entry_pkey"),
        sa.UniqueConstraint("organization", "lane", "pos", name="portal_entry_organization_lane_pos_key"),
    )
    for columns in (
        ["arrived_at", "organization", "seq"],
        ["organization", "arrived_at", "seq"],
        ["kind", "arrived_at", "organization", "seq"],
        ["organization", "kind", "arrived_at", "seq"],
    ):
        op.create_index(f"portal_entry_{'_'.join(columns)}_ix", "portal_entry", columns)
    op.create_table(
        "portal_head",
        sa.Column("organization", sa.String(32), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("lanes", sa.LargeBinary, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("checkpoint", sa.Text, nullable=True),
        sa.Column("arrived_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("organization", "size", name="portal_head_pkey"),
    )
