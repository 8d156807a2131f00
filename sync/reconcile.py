"""Reconcile: read back what destinations hold, compare it with the receipts, report and mend what differs.

A receipt says what the destination promised; reading back says what it kept. Both carry a digest over the fields
as the destination keeps them, so a difference is a difference and not a matter of blanks or line ends.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

import structlog

from consent.canonical import entry_id
from consent.database import Database
from consent.ledger import ledgers, newest_head, read_positions
from sync import receipts
from sync.destinations import Destination
from sync.port import Held

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
    #: The destination's own name for what it holds there.
    remote_id: str | None = None


@dataclass(slots=True)
class Reconciled:
    """What a reconciliation of one destination found."""

    name: str
    checked: int = 0
    held: int = 0
    differences: list[Difference] = field(default_factory=list)
    #: Differences beyond those that are listed, by what they are.
    unlisted: Counter[Problem] = field(default_factory=Counter)
    repaired: int = 0

    def count(self, problem: Problem) -> int:
        """Return how many of the differences are of this kind, listed or not."""
        return sum(1 for difference in self.differences if difference.problem is problem) + self.unlisted[problem]

    @property
    def more(self) -> int:
        """How many differences there are beyond those that are listed."""
        return self.unlisted.total()

    @property
    def agrees(self) -> bool:
        """True where the destination holds exactly what it should."""
        return not self.differences and not self.more


def reconcile(
    database: Database, destination: Destination, *, organization: str | None = None, most: int = 10_000,
    stop: threading.Event | None = None, progress: Callable[[Reconciled], None] | None = None,
) -> Reconciled:  # fmt: skip
    """Compare one destination with its receipts; lists up to `most` differences, and tells how far it is.

    Raises TransientError or SuspendedError where the destination can't be read.
    """
    result = Reconciled(destination.name)
    with database.read() as tx:
        names = [name for name in ledgers(tx) if destination.takes(name) and organization in (None, name)]
    for name in names:
        for difference in differences(database, destination, name, result, stop or threading.Event(), progress):
            if len(result.differences) < most:
                result.differences.append(difference)
            else:
                result.unlisted[difference.problem] += 1
    result.differences = _named(database, result.differences)
    log.info(
        "reconcile.finished", destination=destination.name, checked=result.checked,
        differences=len(result.differences) + result.more,
    )  # fmt: skip
    return result


def differences(
    database: Database, destination: Destination, organization: str, tally: Reconciled, stop: threading.Event,
    progress: Callable[[Reconciled], None] | None = None,
) -> Iterator[Difference]:  # fmt: skip
    """Yield the differences of one ledger, a range of positions at a time."""
    with database.read() as tx:
        cursors = {lane: receipts.cursor(tx, organization, destination.name, lane) for lane in destination.lanes}
    for lane, cursor in cursors.items():
        for first in range(0, cursor, _RANGE):
            if stop.is_set():
                return
            yield from _range(database, destination, organization, lane, first, min(first + _RANGE, cursor) - 1, tally)
            if progress is not None:
                progress(tally)
        beyond = _found(destination, organization, lane, cursor, _BEYOND)
        # Read after that: what the destination took meanwhile was in the ledger before.
        with database.read() as tx:
            size = newest_head(tx, organization).lanes[lane]
        for pos, copies in beyond.items():
            # Behind the ledger's end: nobody's. Between the cursor and the end: a push that wasn't settled yet.
            if pos >= size or copies[0].seq < 0:
                yield _difference(copies[0], Problem.EXTRA)


def _named(database: Database, found: list[Difference]) -> list[Difference]:
    """Return the differences with the ids of what is missing, which only the ledger knows."""
    missing: dict[tuple[str, str], list[int]] = {}
    for one in found:
        if one.problem is Problem.MISSING:
            missing.setdefault((one.organization, one.lane), []).append(one.pos)
    ids: dict[tuple[str, str, int], str] = {}
    with database.read() as tx:
        for (organization, lane), positions in missing.items():
            for entry in read_positions(tx, organization, lane, positions):
                ids[organization, lane, entry.pos] = entry.id
    return [replace(one, entry=one.entry or ids.get((one.organization, one.lane, one.pos))) for one in found]


def _range(
    database: Database, destination: Destination, organization: str, lane: str, first: int, last: int,
    tally: Reconciled,
) -> Iterator[Difference]:  # fmt: skip
    with database.read() as tx:
        expected = dict(receipts.held_by(tx, organization, destination.name, lane, first, last))
        expected_asides = receipts.positions_aside(tx, organization, destination.name, lane, first, last)
    found = _found(destination, organization, lane, first, last)
    tally.checked += len(expected)
    tally.held += sum(map(len, found.values()))
    for pos, receipt in expected.items():
        if pos not in found:
            yield Difference(organization, lane, pos, Problem.MISSING)
            continue
        # What takes long to read back is left out of a long range's digests: they are as much as was read of it.
        same = [held for held in found[pos] if held.digest and receipt.digest.startswith(held.digest)]
        if not same:
            yield _difference(found[pos][0], Problem.DRIFTED)
        for other in [held for held in found[pos] if held is not (same or found[pos])[0]]:
            yield _difference(other, Problem.DUPLICATE)
    for pos in sorted(found.keys() - expected.keys()):
        for held in found[pos]:
            known = pos in expected_asides and held.seq >= 0
            yield _difference(held, Problem.UNSETTLED if known else Problem.EXTRA)


def _difference(held: Held, problem: Problem) -> Difference:
    """Return a difference in what a destination holds; a record that names no entry (seq -1) has its own name only."""
    entry = entry_id(held.organization, held.seq) if held.seq >= 0 else None
    return Difference(held.organization, held.lane, held.pos, problem, entry, held.remote_id)


def _found(destination: Destination, organization: str, lane: str, first: int, last: int) -> dict[int, list[Held]]:
    """Return what a destination holds, by position, each of several copies."""
    found: dict[int, list[Held]] = {}
    for held in destination.connector.find(organization, lane, first, last):
        found.setdefault(held.pos, []).append(held)
    return found
