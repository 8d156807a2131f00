"""A ledger's checkpoints are found beside any number of other audit entries, and that it has none."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:

    checkpoints = sa.text("kind = 'checkpoint'")
    op.create_index(
        "entry_checkpoint_ix",
        "entry",
        ["organization", "pos"],
        unique=False,
        sqlite_where=checkpoints,
        postgresql_where=checkpoints,
    )
