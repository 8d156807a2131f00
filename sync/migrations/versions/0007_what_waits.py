"""What waits for its next attempt is found beside any number of dead letters."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:

    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "set_aside_waiting_ix",
        "set_aside",
        ["organization", "destination", "lane", "pos"],
        unique=False,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.drop_index("set_aside_state_ix", table_name="set_aside")
