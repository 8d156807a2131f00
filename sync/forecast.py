"""How large the database is, how fast it grows, and when its disk is full: measured, not promised."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, make_url

from consent.database import Database, run
from consent.ledger import ledgers, newest_head, seq_at
from sync.clock import database_now

DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Forecast:
    """What was measured, and what follows if it goes on so."""

    bytes: int
    entries: int
    #: Over so many days was growth measured, at most as asked for; 0 where nothing was written yet.
    days: float
    entries_per_day: float
    #: What an entry takes, with its share of everything beside it.
    bytes_per_entry: float | None
    #: What is free where the database stands; None where that is another machine.
    free_bytes: int | None

    @property
    def bytes_per_day(self) -> float:
        """How fast the database grows."""
        return self.entries_per_day * (self.bytes_per_entry or 0.0)

    @property
    def days_left(self) -> float | None:
        """In how many days its disk is full; None where nothing tells."""
        if self.free_bytes is None or self.bytes_per_day <= 0:
            return None
        return self.free_bytes / self.bytes_per_day


def forecast(database: Database, *, days: int = 30) -> Forecast:
    """Measure a database: its size, and its growth over the last days."""
    with database.read() as tx:
        now = database_now(tx)
        since, entries, recent, first = now - days * DAY, 0, 0, now
        for name in ledgers(tx):
            size = newest_head(tx, name).size
            if size:
                entries += size
                recent += size - seq_at(tx, name, since)
                sql = "SELECT recorded_at FROM entry WHERE organization = ? AND seq = 0"
                first = min(first, int(run(tx, sql, [name]).scalar_one()))
        size = _size(tx, database)
    # Less than an hour of a new installation tells nothing of a day.
    measured = min(max(now - first, DAY // 24), days * DAY) / DAY
    return Forecast(
        size, entries, measured if entries else 0.0, recent / measured, size / entries if entries else None,
        free_bytes(database),
    )  # fmt: skip


def place_of(database: Database) -> Path | None:
    """Return the folder of a database's file; None where it is a server's."""
    url = make_url(database.url)
    return None if database.is_postgres or not url.database else Path(url.database).absolute().parent


def free_bytes(database: Database) -> int | None:
    """Return what is free on the disk of a database's file; None where it is a server's."""
    place = place_of(database)
    return None if place is None else shutil.disk_usage(place).free


def _size(tx: Connection, database: Database) -> int:
    if database.is_postgres:
        return int(run(tx, "SELECT pg_database_size(current_database())").scalar_one())
    path = Path(str(make_url(database.url).database))
    return sum(one.stat().st_size for one in (path, path.with_name(path.name + "-wal")) if one.exists())
