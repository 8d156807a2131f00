"""What failed alone: set aside with its due time and reason, tried again behind the cursor, at last a dead letter."""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import assert_never

import structlog

from consent.database import Database
from consent.entry import Entry
from consent.ledger import read_positions
from sync import leases, receipts
from sync.clock import database_now
from sync.destinations import Destination
from sync.leases import Lease
from sync.owed import BEYOND
from sync.port import Batch, Delay, Outcome, Receipt, Refusal
from sync.receipts import SetAside
from sync.retry import delay

log = structlog.get_logger()

#: A (lane, position); what is set aside is gone over in this order.
Place = tuple[str, int]
#: Before all of them, and behind them in any collation.
START: Place = ("", -1)
END: Place = ("zz", 0)


def try_again(
    database: Database, destination: Destination, lease: Lease, push: Callable[[Batch], Sequence[Outcome]],
    attempts: int, must_end: Callable[[], bool], *, everything_after: Place | None,
) -> Iterator[tuple[Place, Sequence[Outcome]]]:  # fmt: skip
    """Push what is set aside and due, each once; yield the answers batch by batch, and the place of its last entry.

    With `everything_after` it is all behind that place, due or not. Whoever asks may do other work between two
    batches. An entry that fails alone for the `attempts`th time becomes a dead letter. Raises what `push` raises, and
    FencedError.
    """
    taken = {lane.value for lane in destination.lanes}
    after, now = everything_after or START, 0
    while not must_end():
        with database.read() as tx:
            now = now or database_now(tx)
            until = now if everything_after is None else None
            waiting = receipts.due(
                tx, lease.organization, destination.name, until=until, never_after=now + BEYOND, after=after
            )
        if not waiting:
            break
        after = waiting[-1].lane, waiting[-1].pos
        for lane, asides in groupby(waiting, key=lambda aside: aside.lane):
            mine = list(asides) if lane in taken else []
            batch = destination.connector.capacity.batch
            for at in range(0, len(mine), batch):
                if must_end():
                    return
                part = mine[at : at + batch]
                yield (lane, part[-1].pos), _again(database, destination, lease, push, attempts, lane, part)


def owe_again(
    database: Database, destination: str, organization: str, lane: str, positions: Sequence[int], why: Delay
) -> int:
    """Set entries aside that were settled and that the destination, as it turned out, did not take; due at once.

    What is set aside, refused or discarded already stays so. Returns how many were.
    """
    if not positions:
        return 0
    with database.write() as tx:
        now = database_now(tx)
        known = receipts.positions_aside(tx, organization, destination, lane, min(positions), max(positions))
        entries = read_positions(tx, organization, lane, [pos for pos in positions if pos not in known])
        receipts.set_aside(tx, [
            SetAside(organization, destination, lane, one.pos, one.seq, "waiting", 0, now, now, why.code, why.advice)
            for one in entries
        ])  # fmt: skip
    return len(entries)


def aside(
    destination: str, entry: Entry, outcome: Refusal | Delay, now: int, *, failed: int = 1, attempts: int, since: int
) -> SetAside:
    """Return how an entry waits that failed alone for the `failed`th time; times are the database's, microseconds."""
    match outcome:
        case Refusal(code=code, advice=advice):
            state, due_at = "refused", now
            log.warning("entry.refused", destination=destination, entry=entry.id, code=code)
        case Delay(code=code, advice=advice, retry_after=after):
            state = "waiting" if failed < attempts else "refused"
            due_at = now + int(delay(failed, random.random(), retry_after=after) * 1_000_000)  # noqa: S311 (jitter)
            log.info("entry.set_aside", destination=destination, entry=entry.id, code=code, attempts=failed)
        case _:
            assert_never(outcome)
    return SetAside(
        entry.organization, destination, entry.lane, entry.pos, entry.seq, state, failed, due_at, since, code, advice
    )  # fmt: skip


def _again(
    database: Database, destination: Destination, lease: Lease, push: Callable[[Batch], Sequence[Outcome]],
    attempts: int, lane: str, asides: Sequence[SetAside],
) -> Sequence[Outcome]:  # fmt: skip
    organization, name = lease.organization, destination.name
    with database.read() as tx:
        entries = read_positions(tx, organization, lane, [one.pos for one in asides])
    outcomes = push(Batch(organization, lane, entries, late=True))[: len(entries)]
    with database.write() as tx:
        now = leases.fence(tx, lease)
        got, failed = {}, []
        for known, entry, outcome in zip(asides, entries, outcomes, strict=False):
            if isinstance(outcome, Receipt):
                got[entry.pos] = outcome
            else:
                failed.append(
                    aside(name, entry, outcome, now, failed=known.attempts + 1, attempts=attempts, since=known.since)
                )
        receipts.write_late_receipts(tx, organization, name, lane, got, now, lease.fence)
        receipts.set_aside(tx, failed)
    return outcomes
