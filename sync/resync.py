"""Resync: bring chosen entries to a destination again. A dry run first; safe to run twice; resumable.

The entry's id is the idempotency key everywhere, so an entry that is there already stays the one it was. What the
receipts know already is not written again, so a resync costs the destination's time and hardly any of ours.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain

import structlog
from sqlalchemy import Connection

from consent.database import Database
from consent.entry import Entry
from consent.kinds import SYSTEM, Kind
from consent.ledger import (
    append,
    create_ledger,
)
from consent.values import Record
from sync import leases, pushing, receipts, resync_runs
from sync.budgets import calls_left, seconds_per_call
from sync.choosing import Choice, Filters
from sync.clock import database_now
from sync.delivery import Rules, deliver
from sync.destinations import Destination, require_not_paused
from sync.late import aside
from sync.leases import Keeper
from sync.port import Batch, Outcome, Receipt, Refusal, TransientError
from sync.reconcile import Reconciled
from sync.workers import holder_name

log = structlog.get_logger()


class AlreadyRunningError(Exception):
    """Another resync or repair of this destination is at work."""


@dataclass(slots=True)
class Resynced:
    """What a resync did, or would do."""

    run: str
    destination: str
    matched: int = 0
    calls: int = 0
    taken: int = 0
    refused: int = 0
    set_aside: int = 0
    dry_run: bool = False
    #: What it took; in a dry run what it would take, None where nothing tells.
    seconds: float | None = 0.0
    differences: dict[str, int] = field(default_factory=dict)
    #: Entries to look at in all, and those that were.
    total: int = 0
    seen: int = 0
    #: In a dry run: how many calls are left today, None where the destination doesn't count them.
    calls_left: int | None = None
    #: True where it ended before all was brought: told to stop, or at the end of its budget. `resume` goes on.
    stopped: bool = False


def resync(
    database: Database, destination: Destination, filters: Filters, rules: Rules, *, actor: str, now: int,
    dry_run: bool = False, resume: str | None = None, stop: threading.Event | None = None,
    progress: Callable[[Resynced], None] | None = None, found: Reconciled | None = None, budget: int | None = None,
) -> Resynced:  # fmt: skip
    """Bring the entries that match to a destination again; `found` saves reading it back once more.

    It stops before it takes more calls than `budget`. Raises AlreadyRunningError, LookupError (no such run to
    resume), and what the connector raises (what was pushed until then counts, and `resume` goes on from there).
    """
    work = _Resync(database, destination, filters, rules, stop or threading.Event(), progress, found, budget)
    if dry_run:
        return work.count()
    return work.run(resume, actor, now)


class _Resync:
    def __init__(
        self, database: Database, destination: Destination, filters: Filters, rules: Rules, stop: threading.Event,
        progress: Callable[[Resynced], None] | None, found: Reconciled | None, budget: int | None,
    ) -> None:  # fmt: skip
        self._budget = budget
        self._database, self._destination, self._filters = database, destination, filters
        self._rules, self._stop, self._progress, self._found = rules, stop, progress, found
        self._connector, self._capacity = destination.connector, destination.connector.capacity
        self._result = Resynced("", destination.name)
        self._after = ("", "", -1)
        self._holder = holder_name()

    def count(self) -> Resynced:
        """Say what a run would do."""
        self._result.dry_run = True
        for page in self._pages():
            self._result.matched += len(page)
            self._result.calls += -(-len(page) // self._capacity.batch)
        self._result.calls_left = calls_left(self._destination)
        per_call = seconds_per_call(self._database, self._destination)
        self._result.seconds = None if per_call is None else round(self._result.calls * per_call, 1)
        return self._result

    def run(self, resume: str | None, actor: str, now: int) -> Resynced:
        started = time.monotonic()
        require_not_paused(self._database, self._destination.name)
        keeper = Keeper(self._database, self._rules.lease_seconds)
        # One resync or repair of a destination at a time: a lease like any other, on no ledger.
        right = self._right = self._take_right(wait=resume is not None)
        keeper.keep(right)
        try:
            self._begin(resume, actor, now)
            for page in self._pages():
                if not page:
                    self._tell()
                    continue
                if self._stop.is_set() or not self._has_room(page):
                    self._result.stopped = True
                    break
                require_not_paused(self._database, self._destination.name)  # nor may it be in the middle
                self._push_page(page, keeper)
            with self._database.write() as tx:
                self._note(tx, "stopped" if self._result.stopped else "done")
        except leases.FencedError:
            raise AlreadyRunningError("another resync or repair took over while this one slept") from None
        finally:
            keeper.end()
            with self._database.write() as tx:
                leases.release(tx, right)
        self._result.seconds = round(time.monotonic() - started, 3)
        log.info("resync.finished", destination=self._destination.name, run=self._result.run, taken=self._result.taken)
        return self._result

    def _pages(self) -> Iterator[list[Entry]]:
        """Yield what is meant page by page, and take over how far it was looked."""
        # A page is pushed under one lease: enough that hardly anything waits at its end.
        size = self._capacity.batch * (4 * self._capacity.in_flight if self._capacity.in_flight > 1 else 1)
        choice = Choice(
            self._database, self._destination, self._filters, size, self._stop, found=self._found, after=self._after
        )
        for page in chain(choice.pages(), [[]]):  # the last look may have found nothing more
            self._result.total, self._result.seen = choice.total, choice.seen
            self._result.differences = choice.differences
            yield page

    def _has_room(self, page: Sequence[Entry]) -> bool:
        """Tell whether a page's calls are within the budget."""
        calls = self._result.calls + -(-len(page) // self._capacity.batch)
        return self._budget is None or calls <= self._budget

    def _take_right(self, *, wait: bool) -> leases.Lease:
        """Take the right to be the one resync; whoever resumes a run that was killed waits its lease out."""
        name, until = resync_runs.right_of(self._destination.name), time.monotonic()
        until += self._rules.lease_seconds + 1 if wait else 0
        while True:
            with self._database.write() as tx:
                right = leases.take(tx, "*", name, self._holder, self._rules.lease_seconds)
            if right is not None:
                return right
            if time.monotonic() >= until or self._stop.wait(0.1):
                raise AlreadyRunningError("another resync or repair of this destination is running")

    def _begin(self, resume: str | None, actor: str, now: int) -> None:
        with self._database.write() as tx:
            if resume is not None:
                asked, self._after = resync_runs.restored(tx, resume, self._destination.name)
                self._filters = Filters.unpacked(asked)
                self._result.run = resume
            else:
                self._result.run = secrets.token_hex(6)
                create_ledger(tx, SYSTEM)
                facts = {"operation": "resync", "destination": self._destination.name, "actor": actor,
                         "run": self._result.run, "only": self._filters.only.value}  # fmt: skip
                append(tx, SYSTEM, [Record(Kind.OPERATION, now, facts, {})], now)
            self._note(tx, "running")
        log.info("resync.started", destination=self._destination.name, run=self._result.run)
        self._tell()

    def _push_page(self, page: list[Entry], keeper: Keeper) -> None:
        """Push a page under the ledger's lease; what is owed by then goes first, so that no STOP waits for us."""
        organization, lane = page[0].organization, page[0].lane
        lease = self._lease(organization)
        deliver(self._database, self._destination, lease, keeper, self._rules, self._stop)
        lease = self._lease(organization)
        keeper.keep(lease)
        try:
            size = self._capacity.batch
            batches = [Batch(organization, lane, page[at : at + size], late=True) for at in range(0, len(page), size)]
            with ThreadPoolExecutor(self._capacity.pushes) as pool:
                answers = list(pool.map(self._push, batches))
            for batch, outcomes in zip(batches, answers, strict=True):
                self._settle(lease, batch, outcomes)
        finally:
            keeper.forget(lease)
            with self._database.write(durable=False) as tx:
                leases.release(tx, lease)
        self._result.matched += len(page)
        self._result.calls += len(batches)
        self._after = (organization, lane, page[-1].pos)
        with self._database.write() as tx:
            self._note(tx, "running")
        self._tell()

    def _note(self, tx: Connection, state: str) -> None:
        """Note how far it is; FencedError where it slept past its right, and another is at work."""
        leases.fence(tx, self._right)
        resync_runs.note(tx, self._result.run, self._destination.name, self._filters.packed(), self._after, state)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(replace(self._result))

    def _push(self, batch: Batch) -> Sequence[Outcome]:
        """Push until every entry is answered for: after a shorter answer the rest is asked again."""
        outcomes: list[Outcome] = []
        while len(outcomes) < len(batch.entries):
            rest = replace(batch, entries=batch.entries[len(outcomes) :])
            answered = pushing.push(self._connector, self._destination.name, rest)
            if not answered:
                raise TransientError("no_answer", "the destination took nothing and gave no reason")
            outcomes += answered
        return outcomes

    def _settle(self, lease: leases.Lease, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        first, last = batch.entries[0].pos, batch.entries[-1].pos
        name = self._destination.name
        with self._database.write() as tx:
            leases.fence(tx, lease)
            now = database_now(tx)
            known = dict(receipts.held_by(tx, batch.organization, name, batch.lane, first, last))
            asides = receipts.asides_between(tx, batch.organization, name, batch.lane, first, last)
            news, failed = {}, []
            for entry, outcome in zip(batch.entries, outcomes, strict=False):
                if isinstance(outcome, Receipt):
                    self._result.taken += 1
                    if known.get(entry.pos) != outcome or entry.pos in asides:
                        news[entry.pos] = outcome
                    continue
                refused = isinstance(outcome, Refusal)
                self._result.refused += refused
                self._result.set_aside += not refused
                if (letter := asides.get(entry.pos)) is not None:
                    # A person tried it: where it only takes longer, it waits anew.
                    times = letter.attempts + 1 if refused else 1
                    failed.append(
                        aside(
                            name, entry, outcome, now, failed=times, attempts=self._rules.attempts, since=letter.since
                        )
                    )  # fmt: skip
                elif refused:  # it is held there, as it was before
                    log.warning("entry.refused", destination=name, entry=entry.id, code=outcome.code)
            receipts.write_late_receipts(tx, batch.organization, name, batch.lane, news, now, lease.fence)
            receipts.set_aside(tx, failed)

    def _lease(self, organization: str) -> leases.Lease:
        while True:
            with self._database.write() as tx:
                lease = leases.take(tx, organization, self._destination.name, self._holder, self._rules.lease_seconds)
            if lease is not None:
                return lease
            # Not by the event: once that is set, waiting for it is no waiting.
            time.sleep(0.05)
