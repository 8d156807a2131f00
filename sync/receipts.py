"""Receipts: a destination's proof, one row a batch. The newest one of a lane is the destination's cursor.

Up to a cursor every entry is settled, set aside or refused. What fails alone is kept in `set_aside` until it gets
through; then a late receipt of its own says so, and look-ups ask those first.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, LargeBinary, String, Table, text

from consent.database import among, fetch, insert, metadata, run, upsert
from sync.port import Outcome, Receipt

receipt_table = Table(
    "receipt",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("destination", String(64), primary_key=True),
    Column("lane", String(16), primary_key=True),
    # The batch's first position is its key, so that two can't settle one range.
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("settled_at", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("held", LargeBinary, nullable=False),
)

late_receipt_table = Table(
    "late_receipt",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("destination", String(64), primary_key=True),
    Column("lane", String(16), primary_key=True),
    Column("pos", BigInteger, primary_key=True),
    Column("settled_at", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("held", LargeBinary, nullable=False),
)

_WAITING = "state = 'waiting'"

set_aside_table = Table(
    "set_aside",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("destination", String(64), primary_key=True),
    Column("lane", String(16), primary_key=True),
    Column("pos", BigInteger, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    # waiting: tried again when due; refused: a dead letter until a person acts; discarded: a person gave it up.
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("code", String(128), nullable=False),
    Column("advice", String(1000), nullable=False),
    # However many dead letters there are, what waits for its next attempt is found beside them.
    Index("set_aside_waiting_ix", "organization", "destination", "lane", "pos",
          sqlite_where=text(_WAITING), postgresql_where=text(_WAITING)),
)  # fmt: skip

_NONE = bytes(16)
_NOTHING = Receipt("", _NONE)


class SettledTwiceError(Exception):
    """Another process settled this range: its receipt stands, ours is not written."""


class SetAside(NamedTuple):
    """An entry that waits for its next attempt, or for a person."""

    organization: str
    destination: str
    lane: str
    pos: int
    seq: int
    state: str
    attempts: int
    #: The database's clock, microseconds since 1970.
    due_at: int
    since: int
    code: str
    advice: str


class Cause(NamedTuple):
    """Why entries of one destination are set aside."""

    destination: str
    code: str
    entries: int
    #: Since when the first of them is, microseconds since 1970.
    since: int
    advice: str


def cursor(tx: Connection, organization: str, destination: str, lane: str) -> int:
    """Return the first position that nothing was settled for yet."""
    rows = fetch(
        tx,
        """SELECT last FROM receipt WHERE organization = ? AND destination = ? AND lane = ?
        ORDER BY first DESC LIMIT 1""",
        [organization, destination, lane],
    )
    return int(rows[0][0]) + 1 if rows else 0


def skipped(tx: Connection, organization: str, destination: str, lane: str) -> int:
    """Return how many entries a destination was never asked to take."""
    row = run(
        tx,
        "SELECT last, held FROM receipt WHERE organization = ? AND destination = ? AND lane = ? AND first = 0",
        [organization, destination, lane],
    ).first()
    return row.last + 1 if row is not None and bytes(row.held) == SKIPPED else 0


def newest_settled_at(tx: Connection, organization: str, destination: str, lane: str) -> int:
    """Return when the newest receipt of a lane was written, 0 if there is none."""
    row = run(
        tx,
        """SELECT settled_at FROM receipt WHERE organization = ? AND destination = ? AND lane = ?
        ORDER BY first DESC LIMIT 1""",
        [organization, destination, lane],
    ).first()
    return 0 if row is None else int(row.settled_at)


def write_receipt(
    tx: Connection, organization: str, destination: str, lane: str, first: int, outcomes: Sequence[Outcome],
    settled_at: int, fence: int,
) -> None:  # fmt: skip
    """Settle a range; SettledTwiceError where it doesn't begin at the cursor."""
    row = (organization, destination, lane, first, first + len(outcomes) - 1, settled_at, fence, pack(outcomes))
    # The cursor is looked at in the same statement: a hole in the receipts would be entries that nobody proved.
    sql = """INSERT INTO receipt (organization, destination, lane, first, last, settled_at, fence, held)
    SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE ? = coalesce((SELECT last FROM receipt
        WHERE organization = ? AND destination = ? AND lane = ? ORDER BY first DESC LIMIT 1), -1) + 1 RETURNING first"""
    if not fetch(tx, sql, [*row, first, organization, destination, lane]):
        raise SettledTwiceError("this range doesn't begin at the cursor: another process settled there")


def skip(tx: Connection, organization: str, destination: str, lane: str, size: int, now: int) -> None:
    """Begin a destination's lane behind the `size` entries that are there already."""
    if size:
        insert(tx, receipt_table, [(organization, destination, lane, 0, size - 1, now, 0, SKIPPED)])


def write_late_receipts(
    tx: Connection, organization: str, destination: str, lane: str, settled: Mapping[int, Receipt], settled_at: int,
    fence: int,
) -> None:  # fmt: skip
    """Settle single positions behind the cursor, and take them from what is set aside."""
    rows = [(organization, destination, lane, pos, settled_at, fence, pack([receipt]))
            for pos, receipt in settled.items()]  # fmt: skip
    upsert(tx, late_receipt_table, rows)
    if settled:
        condition, positions = among(tx, "pos", list(settled))
        run(
            tx,
            f"DELETE FROM set_aside WHERE organization = ? AND destination = ? AND lane = ? AND {condition}",
            [organization, destination, lane, *positions],
        )


def set_aside(tx: Connection, entries: Sequence[SetAside]) -> None:
    """Keep entries that failed alone, with their due time and reason."""
    upsert(tx, set_aside_table, entries)


def due(
    tx: Connection, organization: str, destination: str, *, until: int | None, never_after: int,
    after: tuple[str, int] = ("", -1), limit: int = 1_000,
) -> list[SetAside]:  # fmt: skip
    """Return a page of what waits behind `after` and is due at `until` (None: due or not), by lane and position.

    A due time beyond `never_after` can only come from a clock that was set back since: it is due as well.
    """
    sql = f"""SELECT {_ASIDE} FROM set_aside
    WHERE organization = ? AND destination = ? AND (lane, pos) > (?, ?) AND state = 'waiting'"""
    parameters: list[object] = [organization, destination, *after]
    if until is not None:
        sql += " AND (due_at <= ? OR due_at > ?)"
        parameters += [until, never_after]
    rows = run(tx, f"{sql} ORDER BY lane, pos LIMIT {int(limit)}", parameters)
    return [SetAside._make(row) for row in rows.fetchall()]


def asides(
    tx: Connection, *, destination: str | None = None, organization: str | None = None, state: str | None = None,
    code: str | None = None, after: tuple[str, str, str, int] = ("", "", "", -1), limit: int = 1_000,
) -> list[SetAside]:  # fmt: skip
    """Return set-aside entries that match, in order of key, a page at a time."""
    sql = f"SELECT {_ASIDE} FROM set_aside WHERE (organization, destination, lane, pos) > (?, ?, ?, ?)"
    parameters: list[object] = list(after)
    for name, value in (
        ("destination", destination), ("organization", organization), ("state", state), ("code", code),
    ):  # fmt: skip
        if value is not None:
            sql += f" AND {name} = ?"
            parameters.append(value)
    rows = run(tx, f"{sql} ORDER BY organization, destination, lane, pos LIMIT {int(limit)}", parameters)
    return [SetAside._make(row) for row in rows.fetchall()]


def asides_between(
    tx: Connection, organization: str, destination: str, lane: str, first: int, last: int
) -> dict[int, SetAside]:
    """Return what is set aside between two positions of a lane, both included, by position."""
    rows = run(
        tx,
        f"""SELECT {_ASIDE} FROM set_aside
        WHERE organization = ? AND destination = ? AND lane = ? AND pos BETWEEN ? AND ?""",
        [organization, destination, lane, first, last],
    )
    return {row.pos: SetAside._make(row) for row in rows}


def causes(
    tx: Connection, *, destination: str | None = None, organization: str | None = None, state: str = "refused"
) -> list[Cause]:
    """Return why entries are set aside, with how many, the commonest cause first."""
    where, parameters = ["state = ?"], list[object]([state])
    for name, value in (("destination", destination), ("organization", organization)):
        if value is not None:
            where.append(f"{name} = ?")
            parameters.append(value)
    sql = f"""SELECT destination, code, count(*) AS entries, min(since) AS since, max(advice) AS advice FROM set_aside
    WHERE {" AND ".join(where)} GROUP BY destination, code ORDER BY count(*) DESC, destination, code"""
    return [Cause(row.destination, row.code, row.entries, row.since, row.advice) for row in run(tx, sql, parameters)]


def positions_aside(
    tx: Connection, organization: str, destination: str, lane: str, first: int, last: int
) -> set[int]:  # fmt: skip
    """Return the positions between two, both included, that wait, were refused, or were given up."""
    sql = """SELECT pos FROM set_aside WHERE organization = ? AND destination = ? AND lane = ?
    AND pos BETWEEN ? AND ?"""
    return {row[0] for row in fetch(tx, sql, [organization, destination, lane, first, last])}


def held_by(
    tx: Connection, organization: str, destination: str, lane: str, first: int, last: int
) -> Iterator[tuple[int, Receipt]]:
    """Yield (position, receipt) of all that a destination was proved to hold between two positions, both included."""
    late = {
        row.pos: unpack(bytes(row.held))[0]
        for row in run(
            tx,
            """SELECT pos, held FROM late_receipt
            WHERE organization = ? AND destination = ? AND lane = ? AND pos BETWEEN ? AND ?""",
            [organization, destination, lane, first, last],
        )
    }
    rows = run(
        tx,
        """SELECT first, last, held FROM receipt WHERE organization = ? AND destination = ? AND lane = ?
        AND first <= ? AND first >= coalesce((SELECT max(first) FROM receipt
            WHERE organization = ? AND destination = ? AND lane = ? AND first <= ?), 0) ORDER BY first""",
        [organization, destination, lane, last, organization, destination, lane, first],
    )
    for row in rows:
        for pos, receipt in enumerate(unpack(bytes(row.held)), row.first):
            known = late.pop(pos, None) or receipt
            if known is not None and first <= pos <= last:
                yield pos, known
    for pos in sorted(late):
        receipt = late[pos]
        if receipt is not None:
            yield pos, receipt


def pack(outcomes: Sequence[Outcome]) -> bytes:
    """Return a batch's remote ids and digests as one compact run of bytes (a version byte, a count, 16 bytes each)."""
    ids, digests = zip(*[o if isinstance(o, Receipt) else _NOTHING for o in outcomes], strict=True)
    told = set(ids) - {""}
    # A segment's name stands once for all that it holds.
    names = next(iter(told), "") if len(told) <= 1 else "\n".join(ids)
    return b"\x01" + len(outcomes).to_bytes(4, "big") + b"".join(digests) + names.encode()


#: What a receipt holds for entries that a destination was never asked to take (`from = "now"`).
SKIPPED = b"\x00"


def unpack(held: bytes) -> list[Receipt | None]:
    """Return what `pack` was given, None for each entry that was not settled; nothing for what was skipped."""
    if held == SKIPPED:
        return []
    count = int.from_bytes(held[1:5], "big")
    digests = [held[at : at + 16] for at in range(5, 5 + 16 * count, 16)]
    names = held[5 + 16 * count :].decode().split("\n")
    if len(names) != count:
        names = names * count
    return [None if digest == _NONE else Receipt(name, digest) for name, digest in zip(names, digests, strict=True)]


_ASIDE = "organization, destination, lane, pos, seq, state, attempts, due_at, since, code, advice"
