"""Sync's own bookkeeping: deliver a ledger to a destination that takes everything at once."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from typing import NamedTuple

from consent.database import Database
from consent.kinds import Lane
from sync import leases
from sync.delivery import End, Rules, deliver
from sync.destinations import Destination, register
from sync.port import Batch, Capacity, Connector, Finding, Held, Outcome, Receipt, Statement
from tests.benchmarks.bench_world import ORGANIZATION, Result, Scale, Store, fill, middle, undisturbed

_FLOORS = {("SQLite", 200): 200_000, ("SQLite", 1000): 200_000, ("PostgreSQL", 200): 50_000,
           ("PostgreSQL", 1000): 100_000}  # fmt: skip
_RECEIPT = Receipt("null", sha256(b"").digest()[:16])
_NUMBERS = count()


class Nowhere:
    """A destination that answers for everything at once and keeps nothing."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity

    @property
    def capacity(self) -> Capacity:
        """How it likes to be fed."""
        return self._capacity

    def push(self, batch: Batch) -> Sequence[Outcome]:
        """Take everything."""
        return [_RECEIPT] * len(batch.entries)

    def find(self, organization: str, lane: str, first: int, last: int) -> Iterable[Held]:
        """Hold nothing."""
        return ()

    def check(self) -> Sequence[Finding]:
        """Be well."""
        return ()

    def close(self, statement: Statement) -> None:
        """Take note."""

    def shut(self) -> None:
        """Let go of nothing."""


def bookkeeping(store: Store, scale: Scale) -> Iterator[Result]:
    """Measure in batches of 200 and of 1,000; on PostgreSQL also while another connection holds a snapshot open."""
    with store.fresh() as database:
        entries = fill(database, scale.entries)
        for batch in (200, 1000):
            open_, closed = [], []
            for _ in range(scale.rounds):
                closed.append(_rate(database, batch))
                if database.is_postgres:
                    with foreign_snapshot(database):
                        open_.append(_rate(database, batch))
            for told, rates in (("", closed), (", a snapshot held open", open_)):
                if rates:
                    subject = f"bookkeeping in batches of {batch:,}, {store.name}{told}"
                    floor = _FLOORS[store.name, batch]
                    yield Result(subject, f"{entries:,} entries", "", middle(rates), "entries/s", floor)


class Delivered(NamedTuple):
    """What a delivery took."""

    entries: int
    seconds: float
    #: Of processor time.
    processor: float


def deliver_all(database: Database, connector: Connector, lanes: Sequence[Lane] = tuple(Lane)) -> Delivered:
    """Deliver a whole ledger to a destination that is new."""
    destination = Destination(f"bench-{next(_NUMBERS)}", connector, tuple(lanes), frozenset([ORGANIZATION]))
    register(database, [destination])
    rules = Rules()
    keeper = leases.Keeper(database, rules.lease_seconds)
    with database.write() as tx:
        lease = leases.take(tx, ORGANIZATION, destination.name, "bench", rules.lease_seconds)
    if lease is None:
        raise RuntimeError("somebody else holds the lease of a new destination")
    with undisturbed():
        started, worked = time.perf_counter(), time.process_time()
        tenure = deliver(database, destination, lease, keeper, rules, threading.Event())
        seconds, worked = time.perf_counter() - started, time.process_time() - worked
    keeper.end()
    if tenure.end is not End.IDLE or tenure.refused or tenure.set_aside:
        raise RuntimeError(f"the delivery ended as {tenure.end.name}: {tenure.code} {tenure.advice}")
    return Delivered(tenure.settled, seconds, worked)


@contextmanager
def foreign_snapshot(database: Database) -> Iterator[None]:
    """Hold one state of the database open in another connection, as an export or a forgotten shell would."""
    import psycopg

    with psycopg.connect(database.url) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM receipt")
        yield


def _rate(database: Database, batch: int) -> float:
    delivered = deliver_all(database, Nowhere(Capacity(batch=batch)))
    return delivered.entries / delivered.seconds
