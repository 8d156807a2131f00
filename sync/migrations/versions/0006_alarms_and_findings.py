"""What people have to be told, and what the last look at each destination and ledger found."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "alarm",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=100), nullable=False),
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("told", sa.LargeBinary(), nullable=False),
        sa.Column("start_told", sa.LargeBinary(), nullable=False),
        sa.Column("end_told", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("alarm_pkey")),
    )
    op.create_index("alarm_ended_at_ix", "alarm", ["ended_at"], unique=False)
    op.create_index(
        "alarm_open_ix",
        "alarm",
        ["kind", "subject", "place"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "finding",
        sa.Column("look", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.Column("differing", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.String(length=1000), nullable=True),
        sa.PrimaryKeyConstraint("look", "subject", name=op.f("finding_pkey")),
    )
