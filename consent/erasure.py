"""Lawful erasure: a contact's values and salts are destroyed, and what was decided stays provable.

Bodies hold commitments only, so without a salt they say nothing of anybody; leaves, tree and states stay as they
were. The keyed tag stays too: it is what an opt-out is still known by.
"""

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, MetaData

from consent.canonical import canonical
from consent.conversations import conversation_ids
from consent.database import Database, among, fetch, run
from consent.entry import Entry
from consent.holds import HeldError, Holds
from consent.kinds import Kind
from consent.ledger import append, lock, newest_head, read_seqs
from consent.retention import ranges
from consent.tags import Tags
from consent.values import Record

_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased of a contact in one ledger."""

    conversations: int
    entries: int
    #: The entry that says so; None where nothing was known of this contact.
    told: Entry | None


def erase(
    database: Database, tables: MetaData, tags: Tags, main: str, contact: str, *, actor: str, note: str, now: int
) -> Erased:
    """Erase a contact, a number in E.164, from a ledger and the `tables` beside it; safe to repeat.

    Raises HeldError where a hold covers any of it. `note` is on what grounds; it should name nobody.
    """
    tag = tags("contact", contact)
    # Others' entries may name the contact too (a group text): all are looked through, before the ledger is locked.
    with database.read() as tx:
        size = newest_head(tx, main).size
        naming = _naming(tx, main, contact, conversation_ids(tx, main, "contact_tag", [tag]), 0, size)
    with database.write() as tx:
        if not database.is_postgres:
            run(tx, "PRAGMA secure_delete = ON")  # else freed pages keep what stood there
        head, holds = lock(tx, main), Holds(tx, tags, main)
        conversations = conversation_ids(tx, main, "contact_tag", [tag])
        naming += _naming(tx, main, contact, conversations, size, head.size)
        if holds.cover_contact(tag, conversations) or any(map(holds.cover, naming)):
            raise HeldError("this contact is under a legal hold: nothing of it can be erased until the hold is lifted")
        seqs = _erase(tx, main, contact, conversations, naming)
        known = _forget(tx, tables, main, tag)
        told = None
        if seqs or known:
            facts = {"retention": "erasure", "actor": actor, "entries": len(seqs), "conversations": conversations,
                     "seqs": [list(one) for one in ranges(sorted(seqs))]}  # fmt: skip
            [told] = append(tx, main, [Record(Kind.RETENTION, now, facts, {"note": note})], now)
    scrub(database)
    return Erased(len(conversations), len(seqs), told)


def erase_again(tx: Connection, tables: MetaData, tags: Tags, told: Entry) -> None:
    """Do what the entry of an erasure says was done: an older state of the database was restored since."""
    facts, main = told.facts(), told.organization
    own: list[str] = facts["conversations"]
    contact = None
    for at in range(0, len(own), 1_000):
        condition, parameters = among(tx, "id", own[at : at + 1_000])
        sql = f"SELECT contact FROM conversation WHERE organization = ? AND {condition} AND contact IS NOT NULL"
        contact = contact or next((row[0] for row in fetch(tx, sql, [main, *parameters])), None)
    seqs = [seq for first, last in facts["seqs"] for seq in range(first, last + 1)]
    for at in range(0, len(seqs), 1_000):
        for entry in read_seqs(tx, main, seqs[at : at + 1_000]):
            if entry.conversation in own or contact is None:  # without the number nothing tells what is another's
                _forget_values(tx, entry, list(entry.revealed()))
            else:
                _forget_values(tx, entry, _names(entry, contact))
    if contact is not None:
        _forget(tx, tables, main, tags("contact", contact))


def _naming(
    tx: Connection, main: str, contact: str, conversations: Collection[str], first: int, end: int
) -> list[Entry]:
    """Return the entries outside a contact's own conversations that name the contact."""
    within = "position(? in personal) > 0" if tx.dialect.name == "postgresql" else "instr(personal, ?) > 0"
    # Looked for where the values are: no row comes here that doesn't hold these bytes.
    sql = f"SELECT seq, conversation FROM entry WHERE organization = ? AND seq >= ? AND seq < ? AND {within}"
    own, wanted = set(conversations), []
    for at in range(first, end, _PAGE):
        rows = fetch(tx, sql, [main, at, min(at + _PAGE, end), canonical(contact)])
        wanted += [seq for seq, conversation in rows if conversation not in own]
    found = [one for at in range(0, len(wanted), 1_000) for one in read_seqs(tx, main, wanted[at : at + 1_000])]
    return [one for one in found if _names(one, contact)]


def _names(entry: Entry, contact: str) -> list[str]:
    """Return the names of the values that are this contact's number, or a list with it."""
    return [
        name for name, value in entry.revealed().items()
        if name != "line" and (value == contact or (isinstance(value, list) and contact in value))
    ]  # fmt: skip


def _erase(tx: Connection, main: str, contact: str, conversations: Sequence[str], naming: Sequence[Entry]) -> list[int]:
    """Destroy values and salts, and return the entries that had any."""
    seqs: list[int] = []
    for at in range(0, len(conversations), 500):
        condition, parameters = among(tx, "conversation", conversations[at : at + 500])
        where = f"organization = ? AND {condition} AND personal IS NOT NULL"
        seqs += [row[0] for row in fetch(tx, f"SELECT seq FROM entry WHERE {where}", [main, *parameters])]
        run(tx, f"UPDATE entry SET personal = NULL WHERE {where}", [main, *parameters])
    for entry in naming:
        # Of an entry about somebody else only what names this contact; its other values have salts of their own.
        _forget_values(tx, entry, _names(entry, contact))
        seqs.append(entry.seq)
    return seqs


def _forget_values(tx: Connection, entry: Entry, names: Sequence[str]) -> None:
    left = {name: held for name, held in orjson.loads(entry.values or b"{}").items() if name not in names}
    about = not left or (entry.conversation is None and "contact" in names)
    run(
        tx,
        "UPDATE entry SET personal = ? WHERE organization = ? AND seq = ?",
        [None if about else canonical(left), entry.organization, entry.seq],
    )


def _forget(tx: Connection, tables: MetaData, main: str, tag: bytes) -> int:
    """Null a contact's facts in the tables beside the ledger; what they declare as personal is found by itself."""
    changed = 0
    for table in tables.sorted_tables:
        columns = [one.name for one in table.columns if one.info.get("personal") == "contact"]
        for column in columns:
            sql = f"UPDATE {table.name} SET {column} = NULL WHERE organization = ? AND contact_tag = ?"
            changed += run(tx, f"{sql} AND {column} IS NOT NULL", [main, tag]).rowcount
    return changed


def scrub(database: Database) -> None:
    """Take what was erased out of the files as well: from the log that commits are written to, from dead rows."""
    if not database.is_postgres:
        with closing(database.engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return
    with database.single() as tx:
        for table in ("entry", "conversation", "contact_name"):
            run(tx, f"VACUUM {table}")
