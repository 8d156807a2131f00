"""What a contact is found by, and what was read back and brought again."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "contact_name",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("contact_tag", sa.LargeBinary(), nullable=False),
        sa.Column("name_tag", sa.LargeBinary(), nullable=False),
        sa.Column("word", sa.Integer(), nullable=False),
        sa.Column("folded", sa.LargeBinary(), nullable=True),
        sa.Column("name", sa.String(length=400), nullable=True),
        sa.Column("called_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "contact_tag", "name_tag", "word", name=op.f("contact_name_pkey")),
    )
    op.create_index("contact_name_folded_ix", "contact_name", ["organization", "folded"], unique=False)
    op.create_table(
        "run",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("work", sa.String(length=16), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("organization", sa.String(length=32), nullable=True),
        sa.Column("asked", sa.LargeBinary(), nullable=False),
        sa.Column("told", sa.LargeBinary(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("advice", sa.String(length=1000), nullable=True),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.Column("stopping", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("run_pkey")),
    )
    op.create_index("run_begun_at_ix", "run", ["begun_at", "id"], unique=False)
