"""Findings: what the last look at a destination or a ledger found, kept until another look finds it well.

A look is a reconciliation, a verification, what a restored backup still has to be compared with, or whether a
destination lets itself be told how far it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Connection, String, Table

from consent.database import metadata, run, upsert
from sync.destinations import Destination

finding_table = Table(
    "finding",
    metadata,
    # reconcile, verify, restore or statement; and of which destination or ledger, or of which ledger there.
    Column("look", String(16), primary_key=True),
    Column("subject", String(100), primary_key=True),
    # The database's clock, microseconds since 1970.
    Column("found_at", BigInteger, nullable=False),
    # Entries that differ; 0 where all is well.
    Column("differing", BigInteger, nullable=False),
    # For a person: what is wrong. Never a number, a name or a text.
    Column("told", String(1000), nullable=True),
)

RECONCILE, VERIFY, RESTORE, STATEMENT = "reconcile", "verify", "restore", "statement"

#: The subject of what is found of the database as a whole.
DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Found:
    """What one look found."""

    look: str
    subject: str
    found_at: int
    differing: int
    told: str | None


def ledger_at(destination: str, organization: str) -> str:
    """Return the subject for one ledger at one destination."""
    return f"{destination}/{organization}"


def destination_of(subject: str) -> str:
    """Return the destination of what `ledger_at` gave."""
    return subject.partition("/")[0]


def note(tx: Connection, look: str, subject: str, now: int, differing: int, told: str | None = None) -> None:
    """Keep what a look found, in the place of what the one before found."""
    upsert(tx, finding_table, [(look, subject, now, differing, told)])


def findings(tx: Connection, destinations: Sequence[Destination]) -> list[Found]:
    """Return what each last look found, by look and subject, of what these destinations still take.

    What was found of one that the settings no longer name, or of a ledger that it takes no more, is kept: it counts
    again when it is put back.
    """
    known = {destination.name: destination for destination in destinations}
    rows = run(tx, "SELECT look, subject, found_at, differing, told FROM finding ORDER BY look, subject")
    found = [Found(row.look, row.subject, row.found_at, row.differing, row.told) for row in rows]
    return [one for one in found if _counts(one, known)]


def forget(tx: Connection, look: str, subject: str) -> None:
    """Forget what a look found: its subject is no more."""
    run(tx, "DELETE FROM finding WHERE look = ? AND subject = ?", [look, subject])


def _counts(found: Found, known: Mapping[str, Destination]) -> bool:
    name, _, organization = found.subject.partition("/")
    if found.look not in (RECONCILE, STATEMENT):
        return True
    return name in known and (found.look == RECONCILE or known[name].takes(organization))
