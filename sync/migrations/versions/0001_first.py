"""The first schema: ledgers, states, settings, receipts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "contact",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("contact_tag", sa.LargeBinary(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=False),
        sa.Column("stopped_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "contact_tag", name=op.f("contact_pkey")),
    )
    op.create_table(
        "conversation",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("sub_organization", sa.String(length=32), nullable=True),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("line_tag", sa.LargeBinary(), nullable=False),
        sa.Column("contact_tag", sa.LargeBinary(), nullable=False),
        sa.Column("line", sa.String(length=32), nullable=True),
        sa.Column("contact", sa.String(length=32), nullable=True),
        sa.Column("consent", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("request_seq", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "tag", name=op.f("conversation_pkey")),
    )
    op.create_index("conversation_consent_ix", "conversation", ["organization", "consent"], unique=False)
    op.create_index("conversation_contact_ix", "conversation", ["organization", "contact_tag"], unique=False)
    op.create_index("conversation_id_ix", "conversation", ["organization", "id"], unique=True)
    op.create_index("conversation_line_ix", "conversation", ["organization", "line_tag"], unique=False)
    op.create_table(
        "destination",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.String(length=128), nullable=True),
        sa.Column("advice", sa.String(length=1000), nullable=True),
        sa.Column("lanes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("destination_pkey")),
    )
    op.create_table(
        "entry",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("pos", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("conversation", sa.String(length=32), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("personal", sa.LargeBinary(), nullable=True),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "seq", name=op.f("entry_pkey")),
        sa.UniqueConstraint(
            "organization",
            "conversation",
            "version",
            "seq",
            name=op.f("entry_organization_conversation_version_seq_key"),
        ),
        sa.UniqueConstraint("organization", "lane", "pos", name=op.f("entry_organization_lane_pos_key")),
    )
    op.create_table(
        "head",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("consent", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("audit", sa.BigInteger(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "size", name=op.f("head_pkey")),
    )
    op.create_table(
        "inbox",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("id_tag", sa.LargeBinary(), nullable=False),
        sa.Column("content_tag", sa.LargeBinary(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "id_tag", name=op.f("inbox_pkey")),
    )
    op.create_table(
        "late_receipt",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("pos", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "destination", "lane", "pos", name=op.f("late_receipt_pkey")),
    )
    op.create_table(
        "lease",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("away_since", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("advice", sa.String(length=500), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("organization", "destination", name=op.f("lease_pkey")),
    )
    op.create_table(
        "ledger",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("organization", name=op.f("ledger_pkey")),
    )
    op.create_table(
        "line",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("line_tag", sa.LargeBinary(), nullable=False),
        sa.Column("line", sa.String(length=32), nullable=True),
        sa.Column("sub_organization", sa.String(length=32), nullable=True),
        sa.Column("employee_id", sa.String(length=200), nullable=True),
        sa.Column("employee_name", sa.String(length=400), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("registered", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "line_tag", name=op.f("line_pkey")),
    )
    op.create_table(
        "organization",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("main", sa.String(length=32), nullable=False),
        sa.Column("parent", sa.String(length=32), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("settings", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("organization_pkey")),
    )
    op.create_index(op.f("organization_main_ix"), "organization", ["main"], unique=False)
    op.create_table(
        "receipt",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "destination", "lane", "first", name=op.f("receipt_pkey")),
    )
    op.create_table(
        "resync",
        sa.Column("run", sa.String(length=16), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("filters", sa.LargeBinary(), nullable=False),
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("pos", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", name=op.f("resync_pkey")),
    )
    op.create_table(
        "secret",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("secret_pkey")),
    )
    op.create_table(
        "set_aside",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("pos", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(length=128), nullable=False),
        sa.Column("advice", sa.String(length=1000), nullable=False),
        sa.PrimaryKeyConstraint("organization", "destination", "lane", "pos", name=op.f("set_aside_pkey")),
    )
    op.create_index(op.f("set_aside_state_ix"), "set_aside", ["state"], unique=False)
