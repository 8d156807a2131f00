"""Who works what, when: a thread a destination that goes round the ledgers which owe it something.

A commit names its ledgers, and these go first: what was just said never waits for a backlog. Behind them the ledgers
with a backlog take turns. Looking at all ledgers is the safety net: it finds what nobody announced, what became due,
and what a dead worker left.
"""

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence

import structlog
from sqlalchemy.exc import DBAPIError

from consent.database import Database
from sync import leases
from sync.clock import database_now
from sync.delivery import End, Rules, Tenure, deliver
from sync.destinations import Destination, State, register, standing, wake_suspended
from sync.leases import Keeper
from sync.owed import with_work

log = structlog.get_logger()

#: A ledger keeps its turn at least this long, however many others wait: turns cost a few statements.
_SHORTEST_TURN = 0.05
#: And at most this long where nobody waits: what became due behind its cursors is tried at the beginning of a turn.
_LONGEST_TURN = 5.0
#: A destination that was away for so many ledgers in a row is away: the others aren't tried before the next look.
_AWAY_IN_A_ROW = 3
#: Looking at all ledgers takes at most this share of a thread's time, however many they are.
_SHARE_OF_LOOKING = 0.05
#: A ledger at which we failed ourselves is left alone so long, seconds.
_AFTER_A_FAULT = 30.0


class Workers:
    """The deliveries of one process: started, woken, drained."""

    def __init__(
        self, database: Database, destinations: Sequence[Destination], rules: Rules, *, poll_seconds: float = 1.0
    ) -> None:
        self._database, self._destinations = database, destinations
        self._keeper = Keeper(database, rules.lease_seconds)
        self._stop = threading.Event()
        self.holder = holder_name()
        self._couriers = [
            _Courier(database, destination, rules, self._keeper, self._stop, self.holder, poll_seconds)
            for destination in destinations
        ]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to deliver."""
        register(self._database, self._destinations)
        for courier in self._couriers:
            thread = threading.Thread(target=courier.go_round, name=f"to-{courier.name}")
            thread.start()
            self._threads.append(thread)

    def wake(self, organizations: Collection[str] | None = None) -> None:
        """Something was committed to these ledgers: look at once; None: look at all."""
        for courier in self._couriers:
            courier.wake(organizations)

    def drain(self, seconds: float) -> bool:
        """Stop taking new batches, settle those in flight, and return whether all ended in time."""
        self._stop.set()
        self.wake()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._keeper.end()
        return not any(thread.is_alive() for thread in self._threads)

    def idle_seconds(self) -> dict[str, float]:
        """Return for each destination how long its thread has given no sign of life."""
        now = time.monotonic()
        return {courier.name: now - courier.seen_at for courier in self._couriers}


def holder_name() -> str:
    """Return a name for this process that no other living one has."""
    return f"{socket.gethostname()[:24]}-{os.getpid()}-{os.urandom(4).hex()}"


def take(
    database: Database, destination: Destination, organization: str, holder: str, rules: Rules
) -> leases.Lease | None:
    """Take the right to work a ledger for a destination; None while another holds it."""
    with database.write() as tx:
        return leases.take(tx, organization, destination.name, holder, rules.lease_seconds)


class _Courier:
    """One destination's thread."""

    def __init__(
        self, database: Database, destination: Destination, rules: Rules, keeper: Keeper, stop: threading.Event,
        holder: str, poll: float,
    ) -> None:  # fmt: skip
        self._database, self._destination, self._rules = database, destination, rules
        self._keeper, self._stop, self._holder, self._poll = keeper, stop, holder, poll
        self.name = destination.name
        #: The monotonic clock when this thread last gave a sign of life.
        self.seen_at = time.monotonic()
        self._bell = threading.Event()
        self._guard = threading.Lock()
        self._fresh: set[str] = set()
        #: Fresh ones whose turn is next, and behind them those with a backlog.
        self._first: deque[str] = deque()
        self._look_everywhere = True
        self._backlog: deque[str] = deque()
        self._next_look = 0.0
        self._away = 0
        self._faults: dict[str, float] = {}
        self._database_away = False

    def wake(self, organizations: Collection[str] | None) -> None:
        """Look at these ledgers at once, or at all."""
        with self._guard:
            if organizations is None:
                self._look_everywhere = True
            else:
                self._fresh.update(filter(self._destination.takes, organizations))
        self._bell.set()

    def go_round(self) -> None:
        """Work until told to stop."""
        while not self._stop.is_set():
            self.seen_at = time.monotonic()
            self._bell.clear()
            try:
                self._turn()
                if self._database_away:
                    self._database_away = False
                    log.warning("delivery.database_back", destination=self.name)
            except DBAPIError as error:
                if not self._database_away:
                    self._database_away = True
                    log.warning("delivery.database_away", destination=self.name, error=type(error.orig).__name__)
                self._give_up_turn()
            except Exception:
                log.exception("delivery.failed", destination=self.name)
                self._give_up_turn()
            if not self._backlog:
                self._bell.wait(max(0.0, self._next_look - time.monotonic()))

    def _turn(self) -> None:
        """Work every ledger that was just written to, and then one of those with a backlog."""
        fresh = self._take_fresh()
        if not self._open_for_work():
            self._backlog.clear()
            self._next_look = time.monotonic() + self._poll
            return
        if self._look_everywhere or time.monotonic() >= self._next_look:
            self._look()
        elif fresh:
            with self._database.read() as tx:
                fresh = set(with_work(tx, self._destination, fresh))
        # One that has a backlog had a turn lately: the others have waited for longer.
        self._first = deque(sorted(fresh, key=lambda name: (name in self._backlog, name)))
        while self._first:
            self._work(self._first.popleft())
        if self._backlog and self._backlog[0] not in fresh:
            self._work(self._backlog.popleft())

    def _take_fresh(self) -> set[str]:
        with self._guard:
            fresh, self._fresh = self._fresh, set()
        return fresh

    def _look(self) -> None:
        """Find all ledgers with work; those that were in line stay in front."""
        started = time.monotonic()
        self._look_everywhere, self._away = False, 0
        with self._database.read() as tx:
            found = with_work(tx, self._destination)
        known = set(self._backlog)
        waiting = set(found)
        self._backlog = deque([name for name in self._backlog if name in waiting])
        self._backlog.extend(name for name in found if name not in known)
        now = time.monotonic()
        self._faults = {name: until for name, until in self._faults.items() if until > now}
        self._next_look = now + max(self._poll, (now - started) / _SHARE_OF_LOOKING)

    def _work(self, name: str) -> None:
        if self._stop.is_set() or self._away >= _AWAY_IN_A_ROW or self._faults.get(name, 0.0) > time.monotonic():
            return
        lease = take(self._database, self._destination, name, self._holder, self._rules)
        if lease is None:  # somebody else is at work there
            return
        started = time.monotonic()
        try:
            tenure = deliver(
                self._database, self._destination, lease, self._keeper, self._rules, self._stop,
                make_room=lambda: self._must_make_room(name, time.monotonic() - started),
            )  # fmt: skip
        except DBAPIError:
            raise
        except Exception:  # a fault of ours at one ledger is no reason to leave the others
            log.exception("delivery.failed", destination=self.name, organization=name)
            self._faults[name] = time.monotonic() + _AFTER_A_FAULT
            return
        self._note(name, tenure)

    def _note(self, name: str, tenure: Tenure) -> None:
        """Draw conclusions from how a tenure ended."""
        if tenure.settled:
            self._away = 0
        if tenure.recovered:
            leases.hurry(self._database, self.name)
            self._look_everywhere = True
        match tenure.end:
            case End.SLICE:
                with self._guard:  # what was just said there is a part of its backlog
                    self._fresh.discard(name)
                if name not in self._backlog:
                    self._backlog.append(name)
            case End.AWAY:
                self._away += 1
                if self._away >= _AWAY_IN_A_ROW:
                    self._backlog.clear()
            case End.SUSPENDED:
                self._backlog.clear()
            case End.IDLE | End.LOST | End.STOPPED:
                pass

    def _must_make_room(self, name: str, worked: float) -> bool:
        """Tell whether others may go on: they were just written to, or wait in line."""
        now = self.seen_at = time.monotonic()
        if worked < _SHORTEST_TURN:
            return False
        if self._fresh - {name} or any(other != name for other in self._first):
            return True
        if worked < self._rules.slice_seconds:
            return False
        if now >= self._next_look:
            if not self._open_for_work():
                return True
            self._look()
        # The end of a turn waits for what is in flight: where nobody else is owed anything, that would be for nothing.
        return worked > _LONGEST_TURN or any(other != name for other in self._backlog)

    def _open_for_work(self) -> bool:
        wake_due = False
        with self._database.read() as tx:
            state = standing(tx, self.name)
            if state.state is State.SUSPENDED and state.until is not None:
                wake_due = database_now(tx) >= state.until
        if wake_due:
            wake_suspended(self._database, self.name)
            return True
        return state.state is State.OK

    def _give_up_turn(self) -> None:
        self._backlog.clear()
        self._next_look = time.monotonic() + max(1.0, self._poll)
