"""Outages: how long a destination is left alone, noted on the lease of each ledger that met it there.

However many ledgers and processes meet one outage, it is told twice: when the first of them notes it, and when the
last of them is through.
"""

import random

from sqlalchemy import Connection

from consent.database import run
from sync.clock import database_now
from sync.destinations import Destination
from sync.leases import Lease
from sync.port import TransientError
from sync.retry import delay


def note_away(
    tx: Connection, destination: Destination, lease: Lease, error: TransientError, attempts: int, *, is_known: bool
) -> bool:
    """Note that a destination was away for the `attempts`th time in a row; return whether this began an outage.

    `is_known`: it was noted for this ledger already. A holder that was fenced off notes nothing.
    """
    seconds = delay(attempts, random.random(), retry_after=error.retry_after)  # noqa: S311 (jitter)
    now = database_now(tx)
    noted = run(
        tx,
        """UPDATE lease SET attempts = ?, due_at = ?, code = ?, advice = ?, away_since = coalesce(away_since, ?)
        WHERE organization = ? AND destination = ? AND fence = ?""",
        [attempts, now + int(seconds * 1_000_000), error.code, error.advice, now,
         lease.organization, lease.destination, lease.fence],
    ).rowcount  # fmt: skip
    return bool(noted) and not is_known and not _away_elsewhere(tx, destination, lease)


def note_back(tx: Connection, destination: Destination, lease: Lease) -> bool:
    """Note that a destination is back for a ledger; return whether that ended the outage."""
    run(
        tx,
        """UPDATE lease SET attempts = 0, due_at = 0, code = NULL, advice = NULL, away_since = NULL
        WHERE organization = ? AND destination = ? AND fence = ?""",
        [lease.organization, lease.destination, lease.fence],
    )
    return not _away_elsewhere(tx, destination, lease)


def _away_elsewhere(tx: Connection, destination: Destination, lease: Lease) -> bool:
    # Whoever asks next waits for this transaction's end, so that of two processes one is the first, and one the last.
    suffix = " FOR UPDATE" if tx.dialect.name == "postgresql" else ""
    run(tx, f"SELECT name FROM destination WHERE name = ?{suffix}", [lease.destination])
    # A ledger that it takes no more is tried no more: there an outage would last for ever.
    taken, parameters = destination.only_taken(tx, "l.organization")
    sql = f"""SELECT 1 FROM ledger l JOIN lease ON lease.organization = l.organization
    AND lease.destination = ? AND lease.attempts > 0 WHERE l.organization <> ? AND {taken} LIMIT 1"""
    return run(tx, sql, [lease.destination, lease.organization, *parameters]).first() is not None
