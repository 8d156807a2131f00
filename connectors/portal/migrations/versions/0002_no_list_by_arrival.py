"""Pages read the ledger and ask here what is held: nothing lists entries by arrival any more."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the four indexes of that list."""
    for columns in (
        "arrived_at_organization_seq",
        "organization_arrived_at_seq",
        "kind_arrived_at_organization_seq",
        "organization_kind_arrived_at_seq",
    ):
        op.drop_index(f"portal_entry_{columns}_ix", "portal_entry")
