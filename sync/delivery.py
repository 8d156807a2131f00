"""A tenure: one holder of a lease brings one destination what it is owed of one ledger, all lanes, consent first.

Read ahead of the cursors, push, settle. No network inside a transaction, and the process may be killed between any
two of the three: what was pushed and not settled is pushed again, under the same ids.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import Enum, auto

import structlog

from consent.checkpoints import newest_checkpoint
from consent.database import Database
from consent.entry import Entry
from consent.kinds import Lane
from consent.ledger import Head, newest_head, read_lane
from sync import leases, pushing, receipts
from sync.clock import database_now
from sync.destinations import Destination, suspend
from sync.late import END, START, Place, try_again
from sync.leases import Keeper, Lease
from sync.owed import unclosed
from sync.port import (
    Batch,
    Delay,
    Outcome,
    Receipt,
    Refusal,
    Statement,
    StatementRefusedError,
    SuspendedError,
    TransientError,
)
from sync.settling import Refusals, Settling, are_receipts

log = structlog.get_logger()

#: Entries that are read at one time where batches are smaller: a query costs as much as a hundred of them.
_READ = 1_000
#: What was answered is settled at the latest when it is so much, or where it is brought by this thread, so old.
_SETTLED = 1_000
_SETTLE_SECONDS = 0.01
#: A head is looked at again at least this often, so that a STOP overtakes the backlog that is being worked.
_HEAD_SECONDS = 0.05


class End(Enum):
    """How a tenure ended."""

    IDLE = auto()  # nothing more is owed, or due
    SLICE = auto()  # another ledger's turn
    AWAY = auto()  # the destination was away
    SUSPENDED = auto()  # the destination refuses us
    LOST = auto()  # another process took over
    STOPPED = auto()  # we were asked to stop


@dataclass(slots=True)
class Tenure:
    """What one tenure did."""

    end: End = End.IDLE
    settled: int = 0
    refused: int = 0
    set_aside: int = 0
    #: Up to where what is set aside was tried.
    tried_to: Place = END
    #: True where the destination had been away for this ledger and is back.
    recovered: bool = False
    code: str = ""
    advice: str = ""

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """Count a push's answers."""
        if are_receipts(outcomes):
            self.settled += len(outcomes)
            return
        for outcome in outcomes:
            match outcome:
                case Receipt():
                    self.settled += 1
                case Refusal():
                    self.refused += 1
                case Delay():
                    self.set_aside += 1


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of delivery."""

    #: A destination that refuses this many in a row for one cause and takes none is suspended.
    suspend_after: int = 50
    lease_seconds: float = 15.0
    #: How long one ledger may keep a destination while others wait.
    slice_seconds: float = 0.5
    #: An entry that fails alone this often becomes a dead letter.
    attempts: int = 12


@dataclass(slots=True)
class _Push:
    entries: Sequence[Entry]
    answer: Future[Sequence[Outcome]]


@dataclass(slots=True)
class _Lane:
    name: str
    #: The first position that isn't settled.
    cursor: int
    #: The first position that isn't being pushed.
    ahead: int
    pushes: deque[_Push] = field(default_factory=deque)
    #: Entries from `ahead` on that were read already.
    read: Sequence[Entry] = ()
    refusals: Refusals = field(default_factory=Refusals)

    def turn_back(self) -> None:
        """Begin again at the cursor."""
        self.pushes.clear()
        self.ahead, self.read = self.cursor, ()


def deliver(
    database: Database, destination: Destination, lease: Lease, keeper: Keeper, rules: Rules, stop: threading.Event,
    *, everything_after: Place | None = None, make_room: Callable[[], bool] | None = None,
) -> Tenure:  # fmt: skip
    """Work one lease until nothing is owed, and say how it ended.

    `everything_after` tries all that is set aside behind that place once, due or not. `make_room` is asked between
    batches whether this ledger's turn is over.
    """
    return _Delivery(database, destination, lease, keeper, rules, stop, everything_after, make_room).run()


class _Delivery:
    def __init__(
        self, database: Database, destination: Destination, lease: Lease, keeper: Keeper, rules: Rules,
        stop: threading.Event, everything_after: Place | None, make_room: Callable[[], bool] | None,
    ) -> None:  # fmt: skip
        self._database, self._destination, self._lease, self._keeper = database, destination, lease, keeper
        self._rules, self._stop, self._everything_after, self._make_room = rules, stop, everything_after, make_room
        self._connector, self._capacity = destination.connector, destination.connector.capacity
        self._settling = Settling(database, destination, lease, rules.attempts)
        self._tenure = Tenure()
        self._lanes: list[_Lane] = []
        self._looked = 0.0
        self._lost = threading.Event()
        # It failed as a whole the last time: look whether one entry makes it fail.
        self._careful = lease.attempts > 0

    def run(self) -> Tenure:
        self._lost = self._keeper.keep(self._lease)
        try:
            self._open()
            self._late()
            self._ahead()
            self._close()
        except TransientError as error:
            self._ended(End.AWAY, error.code, error.advice)
            self._settling.note_away(error, after_some=self._tenure.settled > 0)
        except SuspendedError as error:
            self._ended(End.SUSPENDED, error.code, error.advice)
            suspend(self._database, self._destination.name, error.code, error.advice, error.until)
        except (leases.FencedError, receipts.SettledTwiceError):
            self._ended(End.LOST)
            log.warning(
                "settling.refused", destination=self._destination.name, organization=self._lease.organization,
                fence=self._lease.fence,
            )  # fmt: skip
        finally:
            self._keeper.forget(self._lease)
            # Only a number that was given must not be forgotten: a lease that we still seem to hold runs out by itself.
            with self._database.write(durable=False) as tx:
                leases.release(tx, self._lease)
        self._tenure.recovered = self._settling.recovered
        return self._tenure

    # --- behind the cursors -----------------------------------------------------------------------------------

    def _late(self) -> None:
        """Try what is set aside again; where that is much, what was just said goes in between."""
        share = self._rules.slice_seconds / 2
        turn = time.monotonic() + share
        self._tenure.tried_to = self._everything_after or START
        for place, outcomes in try_again(
            self._database, self._destination, self._lease, self._push, self._rules.attempts, self._must_end,
            everything_after=self._everything_after,
        ):  # fmt: skip
            self._tenure.tried_to = place
            self._tenure.count(outcomes)
            if time.monotonic() >= turn:
                self._ahead()
                turn = time.monotonic() + share
        if self._tenure.end is End.IDLE:
            self._tenure.tried_to = END

    # --- ahead of the cursors ---------------------------------------------------------------------------------

    def _open(self) -> None:
        with self._database.read() as tx:
            self._head = newest_head(tx, self._lease.organization)
            # Consent first, in whatever order the settings name them.
            for lane in (lane for lane in Lane if lane in self._destination.lanes):
                at = receipts.cursor(tx, self._lease.organization, self._destination.name, lane)
                self._lanes.append(_Lane(lane.value, at, at))
        self._looked = time.monotonic()

    def _ahead(self) -> None:
        if self._capacity.pushes == 1:
            self._work(None)
            return
        with ThreadPoolExecutor(self._capacity.pushes, f"push-{self._destination.name}") as pool:
            self._work(pool)

    def _work(self, pool: Executor | None) -> None:
        trouble: Exception | None = None
        begun = False
        while True:
            # However long what is late took of this turn, something new is brought in each, the consent lane first.
            may_begin = not self._must_end() or (self._tenure.end is End.SLICE and not begun)
            if trouble is None and may_begin:
                begun = True
                try:
                    self._fill(pool)
                except Exception as error:  # what is in flight is settled first, then this counts
                    trouble = error
            if not any(lane.pushes for lane in self._lanes):
                break
            self._wait()
            for lane in self._lanes:
                try:
                    self._settle_done(lane)
                except (TransientError, SuspendedError) as error:
                    # Those behind it in this lane can't be settled as a contiguous range: they stay owed.
                    wait([push.answer for push in lane.pushes])
                    lane.turn_back()
                    trouble = trouble or error
        if trouble is not None:
            raise trouble

    def _wait(self) -> None:
        """Wait until a batch can be settled, or another begun."""
        if not any(lane.pushes and lane.pushes[0].answer.done() for lane in self._lanes):
            # Those that were answered before the first of their lane aren't waited for: they would end it at once.
            wait(self._under_way(), return_when=FIRST_COMPLETED, timeout=_HEAD_SECONDS)

    def _under_way(self) -> list[Future[Sequence[Outcome]]]:
        return [push.answer for lane in self._lanes for push in lane.pushes if not push.answer.done()]

    def _fill(self, pool: Executor | None) -> None:
        """Start pushes while there is room; the consent lane always finds a place."""
        now = time.monotonic()
        if now - self._looked > _HEAD_SECONDS or all(lane.ahead >= self._size(lane) for lane in self._lanes):
            with self._database.single() as tx:
                self._head = newest_head(tx, self._lease.organization)
            self._looked = now
        if pool is None:
            self._push_here()
            return
        busy = len(self._under_way())
        for lane in self._lanes:
            kept_free = 1 if lane is not self._lanes[0] and self._capacity.pushes > 1 else 0
            # What was answered out of turn keeps nobody from going on, as long as it isn't too much to remember.
            most = 1 if self._capacity.ordered else self._capacity.pushes + self._capacity.in_flight
            while lane.ahead < self._size(lane) and len(lane.pushes) < most:
                if busy >= self._capacity.pushes - kept_free:
                    break
                bring = self._push if not lane.pushes else self._push_plainly
                batch = self._next_batch(lane)
                lane.pushes.append(_Push(batch.entries, pool.submit(bring, batch)))
                busy += 1

    def _push_here(self) -> None:
        """Push from the first lane that has something; what is answered at once is settled a few batches at a time."""
        lane = next((lane for lane in self._lanes if lane.ahead < self._size(lane)), None)
        until = time.monotonic() + _SETTLE_SECONDS
        while lane is not None and lane.ahead < self._size(lane):
            batch, answer = self._next_batch(lane), Future[Sequence[Outcome]]()
            lane.pushes.append(_Push(batch.entries, answer))
            try:
                answer.set_result(self._push(batch))
            except Exception as error:  # of any kind: a push without an answer would be waited for without end
                answer.set_exception(error)
                break
            if self._capacity.ordered or len(answer.result()) < len(batch.entries):
                break
            if lane.ahead - lane.cursor >= _SETTLED or time.monotonic() >= until:
                break

    def _next_batch(self, lane: _Lane) -> Batch:
        size = self._capacity.batch
        if not lane.read:
            with self._database.single() as tx:
                most = size * max(1, _READ // size)
                lane.read = read_lane(tx, self._lease.organization, lane.name, lane.ahead, most)
        entries, lane.read = lane.read[:size], lane.read[size:]
        lane.ahead += len(entries)
        return Batch(self._lease.organization, lane.name, entries)

    def _push(self, batch: Batch) -> Sequence[Outcome]:
        """Push the first of a lane's batches, or late ones; around what may make it fail, where that is suspected."""
        # Where a repeat leaves a second file behind (an archive), nothing is brought again only to see.
        if self._capacity.ordered or not (self._careful or batch.late):
            return self._push_plainly(batch)
        return pushing.push_around(self._push_plainly, batch, lambda: self._before(batch))

    def _before(self, batch: Batch) -> Entry | None:
        """Return the last entry of a batch's lane that was settled."""
        at = next(lane.cursor for lane in self._lanes if lane.name == batch.lane) - 1
        with self._database.single() as tx:
            found = read_lane(tx, batch.organization, batch.lane, at, 1)
        return found[0] if found else None

    def _push_plainly(self, batch: Batch) -> Sequence[Outcome]:
        return pushing.push(self._connector, self._destination.name, batch)

    def _settle_done(self, lane: _Lane) -> None:
        """Settle the contiguous prefix of a lane's pushes that were answered, as many as make one receipt."""
        entries: list[Entry] = []
        outcomes: list[Outcome] = []
        try:
            while lane.pushes and lane.pushes[0].answer.done() and len(outcomes) < _SETTLED:
                push = lane.pushes.popleft()
                answered = push.answer.result()[: len(push.entries)]
                if not answered:
                    raise TransientError("no_answer", "the destination took nothing and gave no reason")
                lane.refusals.add(answered, self._rules.suspend_after)
                entries += push.entries
                outcomes += answered
                if len(outcomes) < len(entries):
                    wait([later.answer for later in lane.pushes])
                    lane.pushes.clear()
        finally:  # what was answered before something went wrong counts
            if outcomes:
                self._settling.settle(lane.name, lane.cursor, entries, outcomes)
                lane.cursor += len(outcomes)
                self._tenure.count(outcomes)
        if len(outcomes) < len(entries):
            lane.turn_back()

    # --- the end of a tenure ----------------------------------------------------------------------------------

    def _close(self) -> None:
        """Tell the destination how far it is, if it took something since it was told last, or a day has passed."""
        if self._tenure.end is not End.IDLE:
            return
        organization, name = self._lease.organization, self._destination.name
        with self._database.read() as tx:
            if not unclosed(tx, self._destination, organization):
                return
            now = database_now(tx)
            newest = max(receipts.newest_settled_at(tx, organization, name, lane.name) for lane in self._lanes)
            head, signed = newest_head(tx, organization), newest_checkpoint(tx, organization)
        lanes = {lane.name: (head.lanes[lane.name], lane.cursor) for lane in self._lanes}
        checkpoint = signed.facts()["checkpoint"] if signed is not None else None
        statement = Statement(organization, head.size, head.root, lanes, head.recorded_at, checkpoint)
        refused = None
        try:
            self._connector.close(statement)
        except StatementRefusedError as error:
            refused = error
        self._settling.note_closed(max(now, newest), refused)

    def _must_end(self) -> bool:
        if self._lost.is_set():
            self._ended(End.LOST)
        elif self._stop.is_set():
            self._ended(End.STOPPED)
        elif self._make_room is not None and self._make_room():
            self._ended(End.SLICE)
        return self._tenure.end is not End.IDLE

    def _ended(self, end: End, code: str = "", advice: str = "") -> None:
        self._tenure.end, self._tenure.code, self._tenure.advice = end, code, advice

    def _size(self, lane: _Lane) -> int:
        head: Head = self._head
        return head.lanes[lane.name]
