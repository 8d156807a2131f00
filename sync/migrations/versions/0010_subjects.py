"""A finding names its destination and its ledger whole, however long both are."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:

    # PostgreSQL changes what it knows of the column, and no row.
    with op.batch_alter_table("finding") as finding:
        finding.alter_column("subject", type_=sa.String(length=100), existing_type=sa.String(length=64), nullable=False)
