"""What is known of each conversation: its state, kept beside the ledger that it derives from.

It is found by keyed tags of its numbers, so that an erased contact's opt-out is still honored when nothing says any
more whose it was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import BigInteger, Column, Connection, Index, Integer, LargeBinary, String, Table

from consent.canonical import canonical
from consent.conversation import Conversation, begin
from consent.database import PERSONAL, PERSONAL_OF_CONTACT, among, fetch, metadata, upsert
from consent.tags import Tags
from consent.values import Consent, Group

conversation_table = Table(
    "conversation",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("tag", LargeBinary, primary_key=True),
    Column("id", String(32), nullable=False),
    Column("sub_organization", String(32), nullable=True),
    Column("channel", String(16), nullable=False),
    Column("line_tag", LargeBinary, nullable=False),
    Column("contact_tag", LargeBinary, nullable=False),
    Column("line", String(32), nullable=True, info=PERSONAL),
    Column("contact", String(32), nullable=True, info=PERSONAL_OF_CONTACT),
    Column("consent", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    # The entry of the last request shown to the contact: what an answer answers.
    Column("request_seq", BigInteger, nullable=True),
    Column("state", LargeBinary, nullable=False),
    Index("conversation_contact_ix", "organization", "contact_tag"),
    Index("conversation_line_ix", "organization", "line_tag"),
    Index("conversation_id_ix", "organization", "id", unique=True),
    Index("conversation_consent_ix", "organization", "consent"),
)


@dataclass(slots=True)
class Standing:
    """A conversation as one transaction has it: where it is kept, and what has become of it."""

    tag: bytes
    line_tag: bytes
    contact_tag: bytes
    conversation: Conversation
    request_seq: int | None = None
    changed: bool = False


def keep(tx: Connection, standings: Iterable[Standing]) -> None:
    """Store the states of conversations."""
    upsert(tx, conversation_table, [_row(standing) for standing in standings], CHANGING)


def pending(tx: Connection, organization: str, *, after: str = "", limit: int = 500) -> list[Standing]:
    """Return conversations whose contact was asked and has not answered, by id, from the one after `after` on."""
    sql = f"""SELECT {_CONVERSATION} FROM conversation WHERE organization = ? AND consent = ? AND id > ?
    ORDER BY id LIMIT ?"""
    return [standing_of(row) for row in fetch(tx, sql, [organization, Consent.PENDING.value, after, limit])]


def _row(standing: Standing) -> tuple[object, ...]:
    told = standing.conversation
    return (told.organization, standing.tag, told.id, told.sub_organization, told.group.value, standing.line_tag,
            standing.contact_tag, told.line, told.contact, told.consent.value, told.version, standing.request_seq,
            canonical(told.state()))  # fmt: skip


def standing_of(row: Sequence[Any]) -> Standing:
    """Return a stored conversation; its row has the table's order of columns."""
    (organization, tag, id_, sub_organization, channel, line_tag, contact_tag, line, contact, _, version, request_seq,
     state) = row  # fmt: skip
    told = begin(id_, organization, sub_organization, line or "", contact or "", _GROUPS[channel])
    return Standing(tag, line_tag, contact_tag, told.restored(version, orjson.loads(state)), request_seq)


def load_standings(tx: Connection, organization: str, column: str, values: Sequence[Any]) -> list[Standing]:
    """Return the conversations that have one of these values in `tag`, `id`, `contact_tag` or `line_tag`."""
    condition, parameters = among(tx, column, values)
    sql = f"SELECT {_CONVERSATION} FROM conversation WHERE organization = ? AND {condition}"
    return [standing_of(row) for row in fetch(tx, sql, [organization, *parameters])]


def find_standings(
    tx: Connection, tags: Tags, organization: str, contact: str, *, line: str | None = None, group: str | None = None
) -> list[Standing]:
    """Return a contact's conversations with an organization, by line and channel group."""
    sql = f"SELECT {_CONVERSATION} FROM conversation WHERE organization = ? AND contact_tag = ?"
    parameters: list[Any] = [organization, tags("contact", contact)]
    if line is not None:
        sql += " AND line_tag = ?"
        parameters.append(tags("line", line))
    if group is not None:
        sql += " AND channel = ?"
        parameters.append(group)
    found = [standing_of(row) for row in fetch(tx, sql, parameters)]
    return sorted(found, key=lambda one: (one.conversation.line, one.conversation.group))


def page_standings(tx: Connection, organization: str, after: str, limit: int) -> list[Standing]:
    """Return conversations by id, from the one after `after` on."""
    sql = f"SELECT {_CONVERSATION} FROM conversation WHERE organization = ? AND id > ? ORDER BY id LIMIT ?"
    return [standing_of(row) for row in fetch(tx, sql, [organization, after, limit])]


def conversation_ids(tx: Connection, organization: str, column: str, tags: Sequence[bytes]) -> list[str]:
    """Return the ids of the conversations that have one of these tags in `contact_tag` or `line_tag`."""
    found: list[str] = []
    for at in range(0, len(tags), 1_000):
        condition, parameters = among(tx, column, tags[at : at + 1_000])
        sql = f"SELECT id FROM conversation WHERE organization = ? AND {condition}"
        found += [row[0] for row in fetch(tx, sql, [organization, *parameters])]
    return found


_GROUPS = {one.value: one for one in Group}
_CONVERSATION = ", ".join(column.name for column in conversation_table.columns)
#: The columns that a text can change. SQLite writes an index anew for each of its columns that a statement names,
#: changed or not, and those of tags and ids are in no order: that was a page each for every text.
CHANGING = ("contact", "consent", "version", "request_seq", "state")
