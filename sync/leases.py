"""Leases: the right to work one (destination, ledger), with a fencing number that outlives whoever slept too long.

A lease is taken only while something is owed, kept alive a few times in its life by a keeper thread, and lets go
at the end of the tenure. An expired one is free to take, so a killed worker needs no rescuer. Settling names the
fencing number: what a process that was paused meanwhile still wants to settle is refused.
"""

import threading
from dataclasses import dataclass

import structlog
from sqlalchemy import BigInteger, Column, Connection, Integer, String, Table
from sqlalchemy.exc import DBAPIError

from consent.database import Database, fetch, metadata, run
from sync import measures
from sync.clock import clock
from sync.retry import LONGEST_SECONDS

log = structlog.get_logger()

lease_table = Table(
    "lease",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("destination", String(64), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("fence", BigInteger, nullable=False),
    # The database's clock, microseconds since 1970; 0 when nobody holds it.
    Column("until", BigInteger, nullable=False),
    # How often in a row this destination was away for this ledger, and when it is tried again.
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", BigInteger, nullable=False, server_default="0"),
    Column("away_since", BigInteger, nullable=True),
    Column("code", String(64), nullable=True),
    Column("advice", String(500), nullable=True),
    Column("closed_at", BigInteger, nullable=False, server_default="0"),
)


class FencedError(Exception):
    """Another holder took the lease meanwhile: nothing of this tenure may be settled any more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work one destination's share of one ledger, until it expires."""

    organization: str
    destination: str
    holder: str
    fence: int
    #: The destination was away this often in a row when the lease was taken.
    attempts: int
    #: When the destination was last told how far the ledger is (`Connector.close`).
    closed_at: int


def take(tx: Connection, organization: str, destination: str, holder: str, seconds: float) -> Lease | None:
    """Take the lease if nobody alive holds it.

    One that runs far longer than a lease can is a dead worker's, from before the database's clock was set back; a
    living one renews it on the new time.
    """
    now, life = clock(tx), int(seconds * 1_000_000)
    beyond = life + int(LONGEST_SECONDS * 1_000_000)
    row = run(
        tx,
        f"""INSERT INTO lease (organization, destination, holder, fence, until) VALUES (?, ?, ?, 1, {now} + ?)
        ON CONFLICT (organization, destination) DO UPDATE
        SET holder = excluded.holder, fence = lease.fence + 1, until = excluded.until
        WHERE lease.until <= {now} OR lease.until > {now} + ? RETURNING fence, attempts, closed_at""",
        [organization, destination, holder, life, beyond],
    ).first()
    if row is None:
        return None
    if organization != "*":
        measures.lease_changes.labels(destination, "taken").inc()
    return Lease(organization, destination, holder, row.fence, row.attempts, row.closed_at)


def fence(tx: Connection, lease: Lease) -> int:
    """Hold the lease's row until this transaction ends, and return the database's time (see `sync.clock`).

    Raises FencedError if another holder has taken it.
    """
    suffix = " FOR UPDATE" if tx.dialect.name == "postgresql" else ""
    rows = fetch(
        tx,
        f"SELECT fence, {clock(tx)} FROM lease WHERE organization = ? AND destination = ?{suffix}",
        [lease.organization, lease.destination],
    )
    if not rows or rows[0][0] != lease.fence:
        raise FencedError("another process took over this destination's ledger")
    return int(rows[0][1])


def release(tx: Connection, lease: Lease) -> None:
    """Let go, if it is still ours."""
    run(
        tx,
        "UPDATE lease SET until = 0 WHERE organization = ? AND destination = ? AND fence = ?",
        [lease.organization, lease.destination, lease.fence],
    )


def hurry(database: Database, destination: str) -> None:
    """Let a destination that is back be tried at once for every ledger, instead of each in its own time."""
    with database.write() as tx:
        # In whatever order others lock these rows: one that is being worked needs no hurry.
        suffix = " FOR UPDATE SKIP LOCKED" if tx.dialect.name == "postgresql" else ""
        run(
            tx,
            f"""UPDATE lease SET due_at = 0 WHERE destination = ? AND organization IN (
                SELECT organization FROM lease WHERE destination = ? AND attempts > 0{suffix})""",
            [destination, destination],
        )


class Keeper:
    """Renews the leases of one process from a thread of its own, so that a slow push doesn't lose its right."""

    def __init__(self, database: Database, seconds: float) -> None:
        self._database, self._seconds = database, seconds
        self._kept: dict[tuple[str, str], tuple[Lease, threading.Event]] = {}
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def keep(self, lease: Lease) -> threading.Event:
        """Renew a lease from now on; the event that is returned is set if it was lost."""
        lost = threading.Event()
        with self._guard:
            self._kept[lease.organization, lease.destination] = (lease, lost)
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew_all, name="lease-keeper", daemon=True)
                self._thread.start()
        return lost

    def forget(self, lease: Lease) -> None:
        """Stop renewing a lease."""
        with self._guard:
            self._kept.pop((lease.organization, lease.destination), None)

    def end(self) -> None:
        """Stop the thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _renew_all(self) -> None:
        while not self._ended.wait(self._seconds / 3):
            with self._guard:
                kept = list(self._kept.values())
            for lease, lost in kept:
                try:
                    if not self._renewed(lease) and self._is_kept(lease):
                        lost.set()
                        measures.lease_changes.labels(lease.destination, "lost").inc()
                        log.warning("lease.lost", destination=lease.destination, organization=lease.organization)
                except DBAPIError as error:  # the lease runs out by itself if this goes on
                    log.warning("lease.not_renewed", destination=lease.destination, error=type(error.orig).__name__)

    def _is_kept(self, lease: Lease) -> bool:
        """Tell whether nobody let go of a lease meanwhile: then it isn't lost."""
        with self._guard:
            kept = self._kept.get((lease.organization, lease.destination))
        return kept is not None and kept[0] is lease

    def _renewed(self, lease: Lease) -> bool:
        with self._database.write() as tx:
            sql = f"""UPDATE lease SET until = {clock(tx)} + ?
            WHERE organization = ? AND destination = ? AND fence = ? AND until > 0"""
            life = int(self._seconds * 1_000_000)
            return run(tx, sql, [life, lease.organization, lease.destination, lease.fence]).rowcount == 1
