"""What a portal holds: entries as they were pushed, heads as they were told, in tables of its own.

The tables may stand beside the ledger's or in another database. Entries are stored once by their id,
in the bytes that their hashes were made of, and read back from those bytes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from connectors.portal.protocol import PAGE, Range, Result, Status, digest
from connectors.portal.reading import UnfitError, read_entry
from consent.database import PERSONAL, Database, among, run
from consent.database import metadata as ledger_metadata
from consent.entry import Entry
from sync.port import Statement

metadata = MetaData(naming_convention=ledger_metadata.naming_convention)

entry_table = Table(
    "portal_entry",
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
    Column("arrived_at", BigInteger, nullable=False),
    UniqueConstraint("organization", "lane", "pos"),
)

head_table = Table(
    "portal_head",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("root", LargeBinary, nullable=False),
    Column("lanes", LargeBinary, nullable=False),  # canonical JSON of {lane: [size, settled]}
    Column("recorded_at", BigInteger, nullable=False),
    Column("checkpoint", Text, nullable=True),
    Column("arrived_at", BigInteger, nullable=False),
)

_ENTRY = "organization, seq, lane, pos, kind, conversation, version, occurred_at, recorded_at, body, personal, leaf"
#: Rows of one statement on PostgreSQL come as one array a column: constant text, one round trip.
_ARRAYS = "text[] bigint[] text[] bigint[] text[] text[] int[] bigint[] bigint[] bytea[] bytea[] bytea[] bigint[]"


class Arrival(NamedTuple):
    """An entry and when it came."""

    entry: Entry
    #: Microseconds since 1970.
    arrived_at: int


class TamperError(Exception):
    """A head contradicts one that was told before: the same size with another root."""


class PortalStore:
    """The receiving end's side of the database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def receive(self, organization: str, lane: str, things: Sequence[object], now: int) -> list[Result]:
        """Check and store the entries of a batch in one transaction; answer for each in order.

        `now` is in microseconds since 1970. Storing a batch twice, at once or one after the other, leaves one copy.
        """
        read = [_read(thing, organization, lane) for thing in things]
        # In order of seq, so that two overlapping batches can't wait for each other's rows.
        entries = sorted((fit[0] for fit in read if isinstance(fit, tuple)), key=lambda entry: entry.seq)
        with self.database.write() as tx:
            stored = _insert(tx, entries, now)
            # The common case, a new batch, is known by its count alone.
            held = None if stored == len(entries) else _by_seq(tx, organization, [entry.seq for entry in entries])
        return [fit if isinstance(fit, Result) else _judge(*fit, held, now) for fit in read]

    def held(self, asked: Range) -> tuple[list[tuple[str, int, bytes]], int | None]:
        """Return a page of (id, pos, digest) of a range, and the position to go on from (None at its end).

        Digests are made of the stored bytes at this moment, so that a change at rest shows.
        """
        with self.database.read() as tx:
            rows = run(
                tx,
                f"SELECT {_ENTRY} FROM portal_entry WHERE organization = ? AND lane = ? AND pos BETWEEN ? AND ?"
                " ORDER BY pos LIMIT ?",
                (asked.organization, asked.lane, asked.first, asked.last, PAGE + 1),
            ).all()
        entries = [Entry._make(row) for row in rows[:PAGE]]
        following = rows[PAGE].pos if len(rows) > PAGE else None
        return [(entry.id, entry.pos, digest(entry)) for entry in entries], following

    def note_head(self, statement: Statement, now: int) -> None:
        """Keep what a ledger's head was said to be; raise TamperError where it was said otherwise before."""
        lanes = orjson.dumps(statement.lanes, option=orjson.OPT_SORT_KEYS)
        with self.database.write() as tx:
            run(
                tx,
                "INSERT INTO portal_head (organization, size, root, lanes, recorded_at, checkpoint, arrived_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (organization, size) DO UPDATE SET lanes = excluded.lanes,"
                " recorded_at = excluded.recorded_at, arrived_at = excluded.arrived_at,"
                " checkpoint = coalesce(excluded.checkpoint, portal_head.checkpoint)"
                " WHERE portal_head.root = excluded.root AND portal_head.recorded_at <= excluded.recorded_at",
                (statement.organization, statement.size, statement.root, lanes, statement.recorded_at,
                 statement.checkpoint, now),
            )  # fmt: skip
            kept = run(
                tx,
                "SELECT root FROM portal_head WHERE organization = ? AND size = ?",
                (statement.organization, statement.size),
            ).scalar_one()
        if kept != statement.root:
            raise TamperError("another root was told for this size before")

    def arrived(self, organization: str, lane: str, positions: Sequence[int]) -> dict[int, int]:
        """Return when each of these positions of a lane arrived, for those that are held."""
        if not positions:
            return {}
        with self.database.read() as tx:
            condition, parameters = among(tx, "pos", list(positions))
            rows = run(
                tx,
                f"SELECT pos, arrived_at FROM portal_entry WHERE organization = ? AND lane = ? AND {condition}",
                [organization, lane, *parameters],
            )
            return {row.pos: row.arrived_at for row in rows}


def _read(thing: object, organization: str, lane: str) -> tuple[Entry, bytes] | Result:
    try:
        return read_entry(thing, organization, lane)
    except UnfitError as error:
        named = thing.get("id") if isinstance(thing, dict) else None
        return Result(named if isinstance(named, str) else "", Status.INVALID, reason=error.reason)


def _insert(tx: Connection, entries: Sequence[Entry], now: int) -> int:
    """Insert what isn't there yet; return how many were."""
    if not entries:
        return 0
    into = f"INSERT INTO portal_entry ({_ENTRY}, arrived_at)"
    if tx.dialect.name == "postgresql":
        arrays = ", ".join(f"%b::{kind}" for kind in _ARRAYS.split())
        columns = [list(column) for column in zip(*((*entry, now) for entry in entries), strict=True)]
        sql = f"{into} SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"
        return tx.exec_driver_sql(sql, tuple(columns)).rowcount
    marks = ", ".join("?" * 13)
    sql = f"{into} VALUES ({marks}) ON CONFLICT DO NOTHING"
    return tx.exec_driver_sql(sql, [(*entry, now) for entry in entries]).rowcount


def _by_seq(tx: Connection, organization: str, seqs: Sequence[int]) -> dict[int, Arrival]:
    condition, parameters = among(tx, "seq", seqs)
    rows = run(
        tx,
        f"SELECT {_ENTRY}, arrived_at FROM portal_entry WHERE organization = ? AND {condition}",
        [organization, *parameters],
    )
    return {row.seq: Arrival(Entry._make(row[:-1]), row.arrived_at) for row in rows}


def _judge(entry: Entry, told: bytes, held: dict[int, Arrival] | None, now: int) -> Result:
    if held is None:
        return Result(entry.id, Status.STORED, told)
    found = held.get(entry.seq)
    if found is None:  # its position is taken by another entry
        return Result(entry.id, Status.CONFLICT)
    if found.entry.leaf != entry.leaf:
        return Result(entry.id, Status.CONFLICT, digest(found.entry))
    return Result(entry.id, Status.STORED if found.arrived_at == now else Status.DUPLICATE, digest(found.entry))
