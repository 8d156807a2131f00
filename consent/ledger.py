"""The ledger: one append-only sequence of entries for each main organization, and one named `system`.

Appending locks a row that no one ever updates, reads the newest head, numbers the entries, extends the tree
and inserts entries and a new head, all in the caller's transaction. Heads are inserted, never updated: a long
snapshot held open elsewhere slows nothing, and every commit is tamper-evident by itself.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    text,
)

from consent import merkle
from consent.database import PERSONAL, among, fetch, fetch_as, insert, metadata, run
from consent.entry import Entry, seal
from consent.kinds import LANE_OF, Kind, Lane
from consent.values import Record

ledger_table = Table(
    "ledger",
    metadata,
    Column("organization", String(32), primary_key=True),
)

head_table = Table(
    "head",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("consent", BigInteger, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("audit", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
)

_CHECKPOINT = f"kind = '{Kind.CHECKPOINT}'"

entry_table = Table(
    "entry",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("lane", String(16), nullable=False),
    Column("pos", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("conversation", String(32), nullable=True),
    Column("version", Integer, nullable=True),
    Column("occurred_at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=True),
    Column("personal", LargeBinary, nullable=True, info=PERSONAL),
    Column("leaf", LargeBinary, nullable=False),
    UniqueConstraint("organization", "lane", "pos"),
    UniqueConstraint("organization", "conversation", "version", "seq"),
    # A destination is told the newest checkpoint with each tenure, or that there is none.
    Index("entry_checkpoint_ix", "organization", "pos",
          sqlite_where=text(_CHECKPOINT), postgresql_where=text(_CHECKPOINT)),
)  # fmt: skip

_ENTRY = "organization, seq, lane, pos, kind, conversation, version, occurred_at, recorded_at, body, personal, leaf"
_IN_LANE = "seq, pos, kind, conversation, version, occurred_at, recorded_at, body, personal, leaf"
_HEAD = "organization, size, consent, messages, audit, frontier, recorded_at"

#: Makes an entry of a row: what `Entry._make` does, without a step in Python.
_entry = partial(tuple.__new__, Entry)


@dataclass(frozen=True, slots=True)
class Head:
    """A ledger's size and tree after one commit."""

    organization: str
    size: int
    #: Entries in each lane.
    lanes: dict[str, int]
    frontier: tuple[bytes, ...]
    #: Microseconds since 1970; never goes backwards in a ledger.
    recorded_at: int

    @property
    def root(self) -> bytes:
        """The tree's root, 32 bytes."""
        return merkle.root(self.frontier)


class Appending:
    """Entries that are being added to one ledger inside one transaction that holds its lock."""

    def __init__(self, tx: Connection, head: Head, now: int) -> None:
        self._tx, self._start = tx, head
        self._lanes = dict(head.lanes)
        self.head = head
        #: The seq that the next record will get.
        self.next_seq = head.size
        self.entries: list[Entry] = []
        #: Time of this commit. A clock that was set back doesn't take the ledger with it.
        self.recorded_at = max(now, head.recorded_at)

    def add(self, records: Iterable[Record]) -> list[Entry]:
        """Number and seal records; nothing is written yet."""
        sealed: list[Entry] = []
        organization, seq = self._start.organization, self.next_seq
        for record in records:
            lane = LANE_OF[record.kind]
            pos = self._lanes[lane]
            self._lanes[lane] = pos + 1
            salts = os.urandom(16 * len(record.values))
            sealed.append(seal(record, organization, seq, pos, self.recorded_at, salts))
            seq += 1
        self.entries += sealed
        self.next_seq = seq
        return sealed

    def write(self) -> Head:
        """Insert the entries and the new head."""
        if not self.entries:
            return self._start
        frontier = merkle.extend(self._start.frontier, self._start.size, [entry.leaf for entry in self.entries])
        self.head = Head(
            self._start.organization, self.next_seq, self._lanes, tuple(frontier), self.recorded_at
        )  # fmt: skip
        insert(self._tx, entry_table, self.entries)
        insert(self._tx, head_table, [_row(self.head)])
        return self.head


def create_ledger(tx: Connection, organization: str) -> None:
    """Make an empty ledger, if it isn't there yet."""
    run(tx, "INSERT INTO ledger (organization) VALUES (?) ON CONFLICT DO NOTHING", [organization])


def lock(tx: Connection, organization: str) -> Head:
    """Take the ledger's lock until the transaction ends and return its newest head; LookupError if there is none."""
    # Two statements, not one join: only a statement that begins after the lock was given sees the last commit.
    suffix = " FOR UPDATE" if tx.dialect.name == "postgresql" else ""
    if not fetch(tx, "SELECT organization FROM ledger WHERE organization = ?" + suffix, [organization]):
        raise LookupError("there is no such ledger")
    return newest_head(tx, organization)


def newest_head(tx: Connection, organization: str) -> Head:
    """Return the newest head (of size 0 where nothing was written yet)."""
    sql = f"SELECT {_HEAD} FROM head WHERE organization = ? ORDER BY size DESC LIMIT 1"
    rows = fetch(tx, sql, [organization])
    if not rows:
        return Head(organization, 0, {lane.value: 0 for lane in Lane}, (), 0)
    _, size, consent, messages, audit, frontier, recorded_at = rows[0]
    lanes = {"consent": consent, "messages": messages, "audit": audit}
    return Head(organization, size, lanes, tuple(merkle.unpacked(frontier)), recorded_at)


def append(tx: Connection, organization: str, records: Iterable[Record], now: int) -> list[Entry]:
    """Add records to a ledger: lock it, number them, write them."""
    appending = Appending(tx, lock(tx, organization), now)
    appending.add(records)
    appending.write()
    return appending.entries


def ledgers(tx: Connection) -> list[str]:
    """Return the names of all ledgers, sorted."""
    return [row[0] for row in run(tx, "SELECT organization FROM ledger ORDER BY organization")]


def read_lane(tx: Connection, organization: str, lane: str, first: int, limit: int) -> list[Entry]:
    """Return up to `limit` entries of one lane from position `first` on, in order."""
    where = "organization = ? AND lane = ? AND pos >= ? AND pos < ? ORDER BY pos"
    rows = fetch(tx, f"SELECT {_IN_LANE} FROM entry WHERE {where}", [organization, lane, first, first + limit])
    if not rows:
        return []
    # What is the same in all of them isn't read: each column is a fifteenth of what SQLite takes for an entry.
    seqs, *others = zip(*rows, strict=True)
    return list(map(_entry, zip(repeat(organization), seqs, repeat(lane), *others)))


def read_positions(tx: Connection, organization: str, lane: str, positions: Sequence[int]) -> list[Entry]:
    """Return the entries at these positions of one lane, in order."""
    if not positions:
        return []
    marks = ", ".join("?" * len(positions))
    where = f"organization = ? AND lane = ? AND pos IN ({marks}) ORDER BY pos"
    return _entries(tx, where, [organization, lane, *positions])


def read_range(tx: Connection, organization: str, first: int, limit: int) -> list[Entry]:
    """Return up to `limit` entries of a ledger from seq `first` on, in order."""
    return _entries(tx, "organization = ? AND seq >= ? AND seq < ? ORDER BY seq", [organization, first, first + limit])


def read_seqs(tx: Connection, organization: str, seqs: Sequence[int]) -> list[Entry]:
    """Return the entries of these numbers, in order."""
    if not seqs:
        return []
    condition, parameters = among(tx, "seq", seqs)
    return _entries(tx, f"organization = ? AND {condition} ORDER BY seq", [organization, *parameters])


def seq_at(tx: Connection, organization: str, at: int, *, lane: str | None = None) -> int:
    """Return the first seq recorded at or after a time, microseconds since 1970; the ledger's size where none was.

    With a lane it is the first position in that lane, or the lane's size.
    """
    # Times never go backwards in a ledger: twenty look-ups by key find a place among a million.
    head = newest_head(tx, organization)
    first, end = 0, head.size if lane is None else head.lanes[lane]
    where, parameters = ("seq = ?", []) if lane is None else ("lane = ? AND pos = ?", [lane])
    sql = f"SELECT recorded_at FROM entry WHERE organization = ? AND {where}"
    while first < end:
        middle = (first + end) // 2
        if run(tx, sql, [organization, *parameters, middle]).scalar_one() < at:
            first = middle + 1
        else:
            end = middle
    return first


def pos_at(tx: Connection, organization: str, lane: str, seq: int) -> int:
    """Return the first position of a lane whose entry has this seq or a later one; the lane's size where none has."""
    first, end = 0, newest_head(tx, organization).lanes[lane]
    sql = "SELECT seq FROM entry WHERE organization = ? AND lane = ? AND pos = ?"
    while first < end:
        middle = (first + end) // 2
        if run(tx, sql, [organization, lane, middle]).scalar_one() < seq:
            first = middle + 1
        else:
            end = middle
    return first


def read_entry(tx: Connection, organization: str, seq: int) -> Entry | None:
    """Return one entry, or None."""
    found = read_range(tx, organization, seq, 1)
    return found[0] if found else None


def read_conversation(
    tx: Connection, organization: str, conversation: str, versions: Sequence[int] | None = None
) -> list[Entry]:
    """Return a conversation's entries in order, all or those of some versions."""
    where, parameters = "organization = ? AND conversation = ?", [organization, conversation, *(versions or ())]
    if versions is not None:
        where += f" AND version IN ({', '.join('?' * len(versions)) or 'NULL'})"
    # In the order of the index that finds them (versions and numbers grow together): by seq alone a database without
    # statistics would go through the whole ledger instead.
    return _entries(tx, where + " ORDER BY version, seq", parameters)


def page_conversation(
    tx: Connection, organization: str, conversation: str, *, before: tuple[int, int] | None = None,
    after: tuple[int, int] | None = None, limit: int = 50,
) -> list[Entry]:  # fmt: skip
    """Return a page of a conversation in order: its newest entries, or those next to a (version, seq)."""
    where, parameters = "organization = ? AND conversation = ?", list[object]([organization, conversation])
    for sign, place in (("<", before), (">", after)):
        if place is not None:
            where += f" AND (version, seq) {sign} (?, ?)"
            parameters += place
    order = "version, seq" if after is not None else "version DESC, seq DESC"
    return sorted(_entries(tx, f"{where} ORDER BY {order} LIMIT {int(limit)}", parameters), key=lambda one: one.seq)


def walk(tx: Connection, organization: str, *, first: int = 0, page: int = 5_000) -> Iterator[Entry]:
    """Yield a ledger's entries in order, a page at a time, so that memory stays flat."""
    while entries := read_range(tx, organization, first, page):
        yield from entries
        first = entries[-1].seq + 1


def _entries(tx: Connection, where: str, parameters: Sequence[object]) -> list[Entry]:
    return fetch_as(tx, _entry, f"SELECT {_ENTRY} FROM entry WHERE {where}", parameters)


def _row(head: Head) -> tuple[object, ...]:
    sizes = (head.lanes[Lane.CONSENT], head.lanes[Lane.MESSAGES], head.lanes[Lane.AUDIT])
    return (head.organization, head.size, *sizes, merkle.packed(head.frontier), head.recorded_at)
