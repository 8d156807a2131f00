"""What is kept, and for whom it is found: legal holds, an employee's lines, the states at the last disposal."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "hold",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("cover", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "name", "cover", "subject", name=op.f("hold_pkey")),
    )
    op.create_table(
        "employee_line",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("employee_tag", sa.LargeBinary(), nullable=False),
        sa.Column("line_tag", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "employee_tag", "line_tag", name=op.f("employee_line_pkey")),
    )
    op.create_table(
        "snapshot",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("states", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "size", "part", name=op.f("snapshot_pkey")),
    )
    _note_the_lines_of_known_employees()


def _note_the_lines_of_known_employees() -> None:
    import hashlib

    database = op.get_bind()
    key = database.execute(sa.text("SELECT value FROM secret WHERE name = 'tags'")).scalar()
    if key is None:
        return
    lines = database.execute(
        sa.text("SELECT organization, line_tag, employee_id FROM line WHERE employee_id IS NOT NULL")
    )
    insert = sa.text(
        "INSERT INTO employee_line (organization, employee_tag, line_tag) VALUES (:organization, :employee, :line)"
    )
    for organization, line_tag, employee_id in lines.all():
        told = b"employee\x00" + employee_id.encode()
        tag = hashlib.blake2b(told, digest_size=16, key=bytes(key)).digest()
        database.execute(insert, {"organization": organization, "employee": tag, "line": bytes(line_tag)})
