"""Kept runs: what each resync was asked, how far it is, and where `--resume` goes on."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import BigInteger, Column, Connection, LargeBinary, String, Table

from consent.database import metadata, run
from sync.clock import clock, database_now

#: A position of a lane of a ledger.
Place = tuple[str, str, int]

resync_table = Table(
    "resync",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("destination", String(64), nullable=False),
    Column("filters", LargeBinary, nullable=False),
    # How far it is: up to this position of this lane of this ledger everything that matches was pushed.
    Column("organization", String(32), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("pos", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("started_at", BigInteger, nullable=False),
)


def note(tx: Connection, name: str, destination: str, asked: bytes, after: Place, state: str) -> None:
    """Keep how far a run is: up to this place everything that matches was pushed."""
    run(
        tx,
        """INSERT INTO resync (run, destination, filters, organization, lane, pos, state, started_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run) DO UPDATE SET organization = excluded.organization,
        lane = excluded.lane, pos = excluded.pos, state = excluded.state""",
        [name, destination, asked, *after, state, database_now(tx)],
    )


def right_of(destination: str) -> str:
    """Return the name of the lease that whoever brings again to a destination holds, on no ledger (`*`)."""
    return f"resync {destination}"[:64]


def restored(tx: Connection, name: str, destination: str) -> tuple[bytes, Place]:
    """Return what a run was asked and how far it came; LookupError where this destination has none of that name."""
    row = run(tx, "SELECT * FROM resync WHERE run = ? AND destination = ?", [name, destination]).first()
    if row is None:
        raise LookupError("there is no such run of this destination")
    return bytes(row.filters), (row.organization, row.lane, row.pos)


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is kept."""

    run: str
    destination: str
    #: running, cut (killed at it), stopped, done.
    state: str
    started_at: int
    only: str


def runs(tx: Connection, limit: int = 20, *, destination: str | None = None, after: str | None = None) -> list[Run]:
    """Return runs, the newest first, from the one behind `after` on; of one destination, or all."""
    where, parameters = "1 = 1", list[object]()
    if destination is not None:
        where, parameters = "destination = ?", [destination]
    if after is not None:
        begun = "(SELECT started_at FROM resync WHERE run = ?)"
        where += f" AND (started_at < {begun} OR (started_at = {begun} AND run > ?))"
        parameters += [after] * 3
    return _runs(tx, f"{where} ORDER BY started_at DESC, run LIMIT ?", [*parameters, limit])


def find_run(tx: Connection, name: str) -> Run | None:
    """Return a run by its name, None where there is none."""
    return next(iter(_runs(tx, "run = ?", [name])), None)


def _runs(tx: Connection, where: str, parameters: Sequence[object]) -> list[Run]:
    sql = f"SELECT run, destination, state, started_at, filters FROM resync WHERE {where}"
    rows = run(tx, sql, parameters).fetchall()
    at_work = run(tx, f"SELECT destination FROM lease WHERE organization = '*' AND until > {clock(tx)}").scalars().all()
    return [
        Run(row.run, row.destination, _state(row, at_work), row.started_at, orjson.loads(row.filters)["only"])
        for row in rows
    ]


def _state(row: Any, at_work: Collection[str]) -> str:
    return "cut" if row.state == "running" and right_of(row.destination) not in at_work else str(row.state)
