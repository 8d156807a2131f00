"""Kept runs: what each resync was asked, how far it is, and where `--resume` goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import BigInteger, Column, Connection, LargeBinary, String, Table

from consent.database import metadata, run, upsert
from sync.clock import database_now

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
    upsert(tx, resync_table, [(name, destination, asked, *after, state, database_now(tx))])


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
    #: running (or killed at it), stopped, done.
    state: str
    started_at: int
    only: str


def runs(tx: Connection, limit: int = 20) -> list[Run]:
    """Return runs, the newest first."""
    return _runs(tx, "1 = 1 ORDER BY started_at DESC, run LIMIT ?", [limit])


def find_run(tx: Connection, name: str) -> Run | None:
    """Return a run by its name, None where there is none."""
    return next(iter(_runs(tx, "run = ?", [name])), None)


def _runs(tx: Connection, where: str, parameters: Sequence[object]) -> list[Run]:
    sql = f"SELECT run, destination, state, started_at, filters FROM resync WHERE {where}"
    return [
        Run(row.run, row.destination, row.state, row.started_at, orjson.loads(row.filters)["only"])
        for row in run(tx, sql, parameters)
    ]
