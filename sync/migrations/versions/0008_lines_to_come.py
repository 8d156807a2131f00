"""What holds of a contact for lines to come: a STOP of one sub-organization's, and whose the number is."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "reassigned_number",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("contact_tag", sa.LargeBinary(), nullable=False),
        sa.Column("reassigned_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "contact_tag", name=op.f("reassigned_number_pkey")),
    )
    op.create_table(
        "sub_organization_stop",
        sa.Column("organization", sa.String(length=32), nullable=False),
        sa.Column("contact_tag", sa.LargeBinary(), nullable=False),
        sa.Column("sub_organization", sa.String(length=32), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=False),
        sa.Column("stopped_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "organization", "contact_tag", "sub_organization", name=op.f("sub_organization_stop_pkey")
        ),
    )
    _note_what_was_said_before()


def _note_what_was_said_before() -> None:
    """Read the ledgers once: an opt-out of a whole sub-organization, and a number that changed hands, count from then.

    Whose an entry is, its conversation tells by its tag; where there is none, the number itself.
    """
    database = op.get_bind()
    key = database.execute(sa.text("SELECT value FROM secret WHERE name = 'tags'")).scalar()
    if key is None:
        return  # a new database
    entries = sa.text(
        """SELECT e.organization, e.seq, e.occurred_at, e.body, e.personal, c.contact_tag FROM entry e
        LEFT JOIN conversation c ON c.organization = e.organization AND c.id = e.conversation
        WHERE e.lane = 'consent' AND e.kind IN ('decision', 'reassignment') AND e.body IS NOT NULL
        ORDER BY e.organization, e.seq"""
    )
    stops: dict[tuple[str, bytes], dict[str, tuple[int, int]]] = {}
    reassigned: dict[tuple[str, bytes], int] = {}
    for organization, seq, at, body, personal, of in database.execute(entries.execution_options(yield_per=1_000)):
        facts = json.loads(body)
        stopped = facts.get("scope") == "sub_org" and facts.get("decision") == "opted_out" and "elsewhere" not in facts
        changed_hands = facts.get("event") == "number_reassigned"
        tag = of or _tag(key, personal)
        if tag is None or not (stopped or changed_hands):
            continue
        known = stops.setdefault((organization, tag), {})
        if stopped:
            within = facts.get("sub_organization") or ""
            known[within] = max(known.get(within, (at, seq)), (at, seq))
        else:  # what was stopped before it is the former owner's affair
            stops[organization, tag] = {within: stop for within, stop in known.items() if stop[0] >= at}
            reassigned[organization, tag] = max(at, reassigned.get((organization, tag), at))
    for (organization, tag), at in reassigned.items():
        op.execute(_REASSIGNED.bindparams(organization=organization, tag=tag, at=at))
    for (organization, tag), known in stops.items():
        for within, (at, seq) in known.items():
            op.execute(_STOPPED.bindparams(organization=organization, tag=tag, within=within, at=at, seq=seq))


_REASSIGNED = sa.text(
    "INSERT INTO reassigned_number (organization, contact_tag, reassigned_at) VALUES (:organization, :tag, :at)"
)
_STOPPED = sa.text(
    """INSERT INTO sub_organization_stop (organization, contact_tag, sub_organization, stopped_at, stopped_seq)
    VALUES (:organization, :tag, :within, :at, :seq)"""
)


def _tag(key: bytes, personal: bytes | None) -> bytes | None:
    contact = json.loads(personal).get("contact") if personal else None
    if contact is None:
        return None  # erased, and no conversation says whose it was
    return hashlib.blake2b(b"contact\x00" + contact["value"].encode(), digest_size=16, key=bytes(key)).digest()
