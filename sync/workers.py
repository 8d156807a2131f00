"""Who works what, when: a thread a destination that goes round the ledgers which owe it something.

A commit wakes the threads of its own process; polling is the safety net, and finds what other processes wrote,
what became due, and what a dead worker left. `sync_now` does the same once, and waits for others to finish.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from consent.database import Database, DatabaseError, explain, run
from consent.ledger import ledgers, newest_head
from sync import leases, receipts
from sync.clock import clock, database_now
from sync.delivery import End, Rules, Tenure, deliver
from sync.destinations import Destination, State, register, standing, wake_suspended
from sync.leases import Keeper
from sync.retry import LONGEST_SECONDS

log = structlog.get_logger()


@dataclass(slots=True)
class Synced:
    """What `sync_now` did for one destination."""

    name: str
    settled: int = 0
    #: Left over: what lies behind cursors, what waits for its next attempt, what waits for a person.
    owed: int = 0
    set_aside: int = 0
    refused: int = 0
    #: True if the destination stayed away or refuses us.
    away: bool = False
    code: str = ""
    advice: str = ""


class Workers:
    """The deliveries of one process: started, woken, drained."""

    def __init__(
        self, database: Database, destinations: Sequence[Destination], rules: Rules, *, poll_seconds: float = 1.0
    ) -> None:
        self._database, self._destinations, self._rules, self._poll = database, destinations, rules, poll_seconds
        self._keeper = Keeper(database, rules.lease_seconds)
        self._stop = threading.Event()
        self._wakes = [threading.Event() for _ in destinations]
        self._threads: list[threading.Thread] = []
        self.holder = holder_name()

    def start(self) -> None:
        """Begin to deliver."""
        register(self._database, self._destinations)
        for destination, wake in zip(self._destinations, self._wakes, strict=True):
            thread = threading.Thread(target=self._go_round, args=(destination, wake), name=f"to-{destination.name}")
            thread.start()
            self._threads.append(thread)

    def wake(self) -> None:
        """Something was committed: look at once."""
        for wake in self._wakes:
            wake.set()

    def drain(self, seconds: float) -> bool:
        """Stop taking new batches, settle those in flight, and return whether all ended in time."""
        self._stop.set()
        self.wake()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._keeper.end()
        return not any(thread.is_alive() for thread in self._threads)

    def _go_round(self, destination: Destination, wake: threading.Event) -> None:
        while not self._stop.is_set():
            wake.clear()
            more = False
            try:
                more = self._round(destination)
            except DBAPIError as error:
                log.warning("delivery.database_away", destination=destination.name, error=type(error.orig).__name__)
                self._stop.wait(1.0)
            except Exception:
                log.exception("delivery.failed", destination=destination.name)
                self._stop.wait(1.0)
            if not more:
                wake.wait(self._poll)

    def _round(self, destination: Destination) -> bool:
        """Work each ledger that owes something for a slice; return whether something is left to do at once."""
        if not _open_for_work(self._database, destination):
            return False
        with self._database.read() as tx:
            names = [name for name in ledgers(tx) if destination.takes(name)]
            waiting = [name for name in names if _has_work(tx, destination, name)]
        more = False
        for name in waiting:
            if self._stop.is_set():
                return False
            lease = _take(self._database, destination, name, self.holder, self._rules)
            if lease is None:
                continue
            until = time.monotonic() + self._rules.slice_seconds if len(waiting) > 1 else None
            tenure = deliver(
                self._database, destination, lease, self._keeper, self._rules, self._stop, until=until
            )  # fmt: skip
            more = more or tenure.end is End.SLICE
        return more


def sync_now(
    database: Database, destinations: Sequence[Destination], rules: Rules, *, stop: threading.Event | None = None,
    progress: Callable[[str, Tenure], None] | None = None,
) -> list[Synced]:  # fmt: skip
    """Deliver all that is owed, and all that is set aside once; destinations side by side, each to its end.

    Waits for another process at work, or for a dead one's lease. A suspended destination is tried once.
    Raises DatabaseError where the database went away; what was settled until then is.
    """
    register(database, destinations, complete=False)
    keeper = Keeper(database, rules.lease_seconds)
    ended = stop or threading.Event()
    results = [Synced(destination.name) for destination in destinations]
    troubles: list[DBAPIError] = []
    threads = [
        threading.Thread(
            target=_sync_one, args=(database, destination, rules, keeper, ended, synced, troubles, progress)
        )
        for destination, synced in zip(destinations, results, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keeper.end()
    if troubles:
        raise DatabaseError(explain(troubles[0])) from troubles[0]
    return results


@dataclass(frozen=True, slots=True)
class Owed:
    """What one destination is owed of one ledger."""

    organization: str
    #: By lane: (cursor, size).
    lanes: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Entries behind the cursors."""
        return sum(size - cursor for cursor, size in self.lanes.values())


def owed(tx: Connection, destination: Destination, organization: str) -> Owed:
    """Return what a destination is owed of a ledger, by one look-up a lane."""
    head = newest_head(tx, organization)
    return Owed(organization, {
        lane.value: (receipts.cursor(tx, organization, destination.name, lane), head.lanes[lane])
        for lane in destination.lanes
    })  # fmt: skip


def holder_name() -> str:
    """Return a name for this process that no other living one has."""
    return f"{socket.gethostname()[:24]}-{os.getpid()}-{os.urandom(4).hex()}"


def _sync_one(
    database: Database, destination: Destination, rules: Rules, keeper: Keeper, stop: threading.Event, synced: Synced,
    troubles: list[DBAPIError], progress: Callable[[str, Tenure], None] | None,
) -> None:  # fmt: skip
    try:
        wake_suspended(database, destination.name, now_due=True)
        with database.read() as tx:
            state = standing(tx, destination.name)
            names = [name for name in ledgers(tx) if destination.takes(name)]
        if state.state is State.PAUSED:
            synced.away, synced.code = True, "paused"
            synced.advice = f"paused by a person: run `assent destination resume {destination.name}`"
        holder = holder_name()
        for name in [] if synced.away else names:
            tenure = _sync_ledger(database, destination, name, holder, rules, keeper, stop)
            synced.settled += tenure.settled
            if progress is not None:
                progress(destination.name, tenure)
            if tenure.end in (End.AWAY, End.SUSPENDED):
                synced.away, synced.code, synced.advice = True, tenure.code, tenure.advice
                if tenure.end is End.SUSPENDED:
                    break
        _tally(database, destination, names, synced)
    except DBAPIError as error:
        log.warning("sync.database_away", destination=destination.name, error=type(error.orig).__name__)
        troubles.append(error)
    except Exception as error:
        log.exception("sync.failed", destination=destination.name)
        synced.away, synced.code = True, type(error).__name__
        synced.advice = "unexpected: see the log line sync.failed"


def _sync_ledger(
    database: Database, destination: Destination, organization: str, holder: str, rules: Rules, keeper: Keeper,
    stop: threading.Event,
) -> Tenure:  # fmt: skip
    total = Tenure()
    first = True
    while not stop.is_set():
        with database.read() as tx:
            left = owed(tx, destination, organization)
            waiting = _waiting(tx, organization, destination.name)
            unclosed = _unclosed(tx, destination, organization)
        if not (left.count or unclosed or (waiting and first)):
            return total
        lease = _take(database, destination, organization, holder, rules)
        if lease is None:  # somebody is at work, or died at it: what they leave is ours
            with database.read() as tx:
                life = leases.seconds_left(tx, organization, destination.name)
            stop.wait(min(max(life, 0.02), 0.25))
            continue
        tenure = deliver(database, destination, lease, keeper, rules, stop, everything=first)
        first = False
        total.settled += tenure.settled
        total.end, total.code, total.advice = tenure.end, tenure.code, tenure.advice
        if tenure.end in (End.AWAY, End.SUSPENDED, End.STOPPED):
            return total
    return total


def _tally(database: Database, destination: Destination, names: Sequence[str], synced: Synced) -> None:
    with database.read() as tx:
        synced.owed = sum(owed(tx, destination, name).count for name in names)
        counts = aside_counts(tx, destination.name)
    synced.set_aside, synced.refused = counts.get("waiting", 0), counts.get("refused", 0)


def aside_counts(tx: Connection, destination: str) -> dict[str, int]:
    """Return how many entries of a destination are waiting, refused and discarded."""
    sql = "SELECT state, count(*) AS entries FROM set_aside WHERE destination = ? GROUP BY state"
    return {row.state: row.entries for row in run(tx, sql, [destination])}


def _open_for_work(database: Database, destination: Destination) -> bool:
    wake_due = False
    with database.read() as tx:
        state = standing(tx, destination.name)
        if state.state is State.SUSPENDED and state.until is not None:
            wake_due = database_now(tx) >= state.until
    if wake_due:
        wake_suspended(database, destination.name)
        return True
    return state.state is State.OK


def _has_work(tx: Connection, destination: Destination, organization: str) -> bool:
    """Tell whether a ledger owes this destination something that may be tried now."""
    beyond = int(LONGEST_SECONDS * 1_000_000)
    row = run(
        tx,
        f"SELECT due_at, {clock(tx)} AS now FROM lease WHERE organization = ? AND destination = ?",
        [organization, destination.name],
    ).first()
    # A due time further away than any wait can only come from a clock that was set back.
    if row is not None and row.now < row.due_at <= row.now + beyond:
        return False
    if owed(tx, destination, organization).count or _unclosed(tx, destination, organization):
        return True
    now = database_now(tx)
    return bool(receipts.due(tx, organization, destination.name, until=now, never_after=now + beyond, limit=1))


def _unclosed(tx: Connection, destination: Destination, organization: str) -> bool:
    newest = max(
        receipts.newest_settled_at(tx, organization, destination.name, lane) for lane in destination.lanes
    )  # fmt: skip
    if not newest:
        return False
    row = run(
        tx,
        "SELECT closed_at FROM lease WHERE organization = ? AND destination = ?",
        [organization, destination.name],
    ).first()
    return row is None or row.closed_at < newest


def _waiting(tx: Connection, organization: str, destination: str) -> bool:
    return bool(receipts.due(tx, organization, destination, until=None, never_after=0, limit=1))


def _take(
    database: Database, destination: Destination, organization: str, holder: str, rules: Rules
) -> leases.Lease | None:
    with database.write() as tx:
        return leases.take(tx, organization, destination.name, holder, rules.lease_seconds)
