"""Reconcile: read back what destinations hold, compare it with the receipts, report and mend what differs.

A receipt says what the destination promised; reading back says what it kept. Both carry a digest over the fields
as the destination keeps them, so a difference is a difference and not a matter of blanks or line ends.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from consent.canonical import entry_id
from consent.database import Database
from consent.ledger import ledgers, newest_head
from sync import receipts
from sync.destinations import Destination

log = structlog.get_logger()

#: Positions that are compared at one time: what bounds memory.
_RANGE = 20_000
_BEYOND = 2**53 - 1


class Problem(StrEnum):
    """How a destination can differ from the ledger."""

    MISSING = "missing"  # it took the entry and doesn't hold it any more
    DRIFTED = "drifted"  # it holds the entry with other contents
    UNSETTLED = "unsettled"  # it holds an entry that we believe it doesn't: a push whose answer was lost
    EXTRA = "extra"  # it holds what the ledger doesn't know: another program wrote there, or our database is older
    DUPLICATE = "duplicate"  # it holds the entry more than once


@dataclass(frozen=True, slots=True)
class Difference:
    """One entry in which a destination differs."""

    organization: str
    lane: str
    pos: int
    problem: Problem
    #: The entry's id, where the destination or the ledger knows it.
    entry: str | None = None


@dataclass(slots=True)
class Reconciled:
    """What a reconciliation of one destination found."""

    name: str
    checked: int = 0
    held: int = 0
    differences: list[Difference] = field(default_factory=list)
    #: Differences beyond those that are listed.
    more: int = 0
    repaired: int = 0

    def count(self, problem: Problem) -> int:
        """Return how many of the listed differences are of this kind."""
        return sum(1 for difference in self.differences if difference.problem is problem)

    @property
    def agrees(self) -> bool:
        """True where the destination holds exactly what it should."""
        return not self.differences and not self.more


def reconcile(
    database: Database, destination: Destination, *, organization: str | None = None, most: int = 10_000,
    stop: threading.Event | None = None,
) -> Reconciled:  # fmt: skip
    """Compare one destination with its receipts; lists up to `most` differences.

    Raises TransientError or SuspendedError where the destination can't be read.
    """
    result = Reconciled(destination.name)
    with database.read() as tx:
        names = [name for name in ledgers(tx) if destination.takes(name) and organization in (None, name)]
    for name in names:
        for difference in differences(database, destination, name, result, stop or threading.Event()):
            if len(result.differences) < most:
                result.differences.append(difference)
            else:
                result.more += 1
    log.info(
        "reconcile.finished", destination=destination.name, checked=result.checked,
        differences=len(result.differences) + result.more,
    )  # fmt: skip
    return result


def differences(
    database: Database, destination: Destination, organization: str, tally: Reconciled, stop: threading.Event
) -> Iterator[Difference]:
    """Yield the differences of one ledger, a range of positions at a time."""
    with database.read() as tx:
        cursors = {lane: receipts.cursor(tx, organization, destination.name, lane) for lane in destination.lanes}
    for lane, cursor in cursors.items():
        for first in range(0, cursor, _RANGE):
            if stop.is_set():
                return
            yield from _range(database, destination, organization, lane, first, min(first + _RANGE, cursor) - 1, tally)
        beyond = _found(destination, organization, lane, cursor, _BEYOND)
        # Read after that: what the destination took meanwhile was in the ledger before.
        with database.read() as tx:
            size = newest_head(tx, organization).lanes[lane]
        for pos, (seq, _, _) in beyond.items():
            # Behind the ledger's end: nobody's. Between the cursor and the end: a push that wasn't settled yet.
            if pos >= size:
                yield Difference(organization, lane, pos, Problem.EXTRA, entry_id(organization, seq))


def _range(
    database: Database, destination: Destination, organization: str, lane: str, first: int, last: int,
    tally: Reconciled,
) -> Iterator[Difference]:  # fmt: skip
    with database.read() as tx:
        expected = dict(receipts.held_by(tx, organization, destination.name, lane, first, last))
        expected_asides = {
            aside.pos
            for aside in receipts.asides(
                tx, destination=destination.name, organization=organization,
                after=(organization, destination.name, lane, first - 1), limit=_RANGE,
            )
            if aside.lane == lane and aside.pos <= last
        }  # fmt: skip
    found = _found(destination, organization, lane, first, last)
    tally.checked += len(expected)
    tally.held += len(found)
    for pos, receipt in expected.items():
        if pos not in found:
            yield Difference(organization, lane, pos, Problem.MISSING)
            continue
        seq, digest, copies = found[pos]
        if digest != receipt.digest:
            yield Difference(organization, lane, pos, Problem.DRIFTED, entry_id(organization, seq))
        if copies > 1:
            yield Difference(organization, lane, pos, Problem.DUPLICATE, entry_id(organization, seq))
    for pos in sorted(found.keys() - expected.keys()):
        problem = Problem.UNSETTLED if pos in expected_asides else Problem.EXTRA
        yield Difference(organization, lane, pos, problem, entry_id(organization, found[pos][0]))


def _found(
    destination: Destination, organization: str, lane: str, first: int, last: int
) -> dict[int, tuple[int, bytes, int]]:
    """Return by position: seq, digest, and in how many copies the destination holds it."""
    found: dict[int, tuple[int, bytes, int]] = {}
    for held in destination.connector.find(organization, lane, first, last):
        copies = found[held.pos][2] + 1 if held.pos in found else 1
        found[held.pos] = (held.seq, held.digest, copies)
    return found


def to_repair(differences: Sequence[Difference]) -> dict[tuple[str, str], list[int]]:
    """Return the positions that pushing again can mend, by (organization, lane)."""
    mendable: dict[tuple[str, str], list[int]] = {}
    for difference in differences:
        if difference.problem in (Problem.MISSING, Problem.DRIFTED, Problem.UNSETTLED):
            mendable.setdefault((difference.organization, difference.lane), []).append(difference.pos)
    return mendable
