"""At size: one ledger of a million entries, and 2,000 of 500, cost as much an entry at the end as at the beginning."""

import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from consent.database import Database
from consent.kinds import Lane
from consent.organizations import create_organization, set_mode
from consent.values import Mode
from sync.delivery import Rules
from sync.destinations import Destination, register
from sync.intake import Intake
from sync.owed import owed, with_work
from sync.port import Batch, Capacity, Held, Outcome, Receipt, TransientError
from sync.receipts import asides
from sync.reconcile import reconcile
from sync.status import status
from sync.syncing import sync_now
from tests.benchmarks.bench_bookkeeping import Nowhere
from tests.benchmarks.bench_latency import stop, three, working
from tests.benchmarks.bench_world import (
    NOON,
    ORGANIZATION,
    Result,
    Scale,
    Store,
    conversations,
    in_turns,
    middle,
    must_be_taken,
    undisturbed,
)
from tests.sync.plans import explained

_DIGEST = sha256(b"").digest()[:16]
_EVEN = 1.10
_CHUNKS = 50
#: A conversation of the mix writes about thirteen entries.
_ENTRIES_OF_ONE = 13
_SMALL = 500


class Everything(Nowhere):
    """Takes all, says that it holds what it took, and notes when each push and each reading back began."""

    def __init__(self, capacity: Capacity, poison: int | None = None) -> None:
        super().__init__(capacity)
        self._poison = poison
        self._held: dict[tuple[str, str], int] = {}
        self.pushed: list[tuple[str, float, int]] = []
        self.read: list[tuple[str, float, int]] = []

    def push(self, batch: Batch) -> Sequence[Outcome]:
        """Take all, unless the poison is among it."""
        if batch.lane == Lane.CONSENT and any(entry.pos == self._poison for entry in batch.entries):
            raise TransientError("500", "An entry upsets us.")
        self.pushed.append((batch.lane, time.perf_counter(), len(batch.entries)))
        self._held[batch.organization, batch.lane] = batch.entries[-1].pos + 1
        return [Receipt("null", _DIGEST)] * len(batch.entries)

    def find(self, organization: str, lane: str, first: int, last: int) -> Iterator[Held]:
        """Give what was taken."""
        end = max(first, min(last + 1, self._held.get((organization, lane), 0)))
        self.read.append((lane, time.perf_counter(), end - first))
        for pos in range(first, end):
            yield Held(organization, pos, lane, pos, "null", _DIGEST)


def large(store: Store, scale: Scale) -> Iterator[Result]:
    """Fill, deliver, tell and read back one ledger; then STOP behind what new destinations are owed of it."""
    size = f"{scale.large:,} entries, {store.name}"
    with store.fresh() as database:
        taking, memory, statuses = [], [], []
        to = Destination("everything", Everything(Capacity(batch=200)), organizations=frozenset([ORGANIZATION]))
        register(database, [to])
        with undisturbed():
            for chunk in range(_CHUNKS):
                taking.append(_take(database, scale.large // _CHUNKS, chunk))
                memory.append(_mib())
                statuses.append(_status_seconds(database, [to]))
        yield _even(f"intake, {size}", taking, "an entry")
        yield _even(f"status, {size}", statuses, "a call")
        with undisturbed():
            sync_now(database, [to], Rules())
        seen = [(at, entries) for lane, at, entries in _of(to).pushed if lane == Lane.MESSAGES]
        yield _even(f"delivery, {size}", _stretches(seen), "an entry")
        found = reconcile(database, to)
        if not found.agrees:
            raise RuntimeError(f"what was delivered differs: {found.differences[:3]}")
        seen = [(at, entries) for lane, at, entries in _of(to).read if lane == Lane.MESSAGES]
        yield _even(f"reconcile, {size}", _gaps([at for at, _ in seen], [entries for _, entries in seen]), "an entry")
        yield _memory(size, memory[_CHUNKS // 10 :])
        if database.is_postgres:
            yield _explained(database, to, size)
        yield _poisoned(database, size, scale.large // 20)
        yield from _behind(database, store, scale)


def many(store: Store, scale: Scale) -> Iterator[Result]:
    """Fill, deliver, tell and read back many small ledgers; then one entry among them."""
    size = f"{scale.ledgers:,} ledgers of {_SMALL}, {store.name}"
    names = [f"org-{number:05d}" for number in range(scale.ledgers)]
    with store.fresh() as database:
        to = Destination("everything", Everything(Capacity(batch=200)), organizations=frozenset(names))
        register(database, [to])
        taking, statuses, sizes, memory = [], [], [], []
        per = max(1, scale.ledgers // 20)
        with undisturbed():
            for first in range(0, scale.ledgers, per):
                some = names[first : first + per]
                taking.append(_take_each(database, some))
                sizes.append(first + len(some))
                statuses.append(_status_seconds(database, [to]) / sizes[-1])
                memory.append(_mib())
        yield _even(f"intake, {size}", taking, "an entry")
        yield _even(f"status, {size}", statuses[1:], "a ledger")
        with undisturbed():
            sync_now(database, [to], Rules())
        seen = [(at, entries) for _, at, entries in _of(to).pushed]
        yield _even(f"delivery, {size}", _stretches(seen), "an entry")
        if not reconcile(database, to).agrees:
            raise RuntimeError("what was delivered differs")
        read = _of(to).read
        yield _even(f"reconcile, {size}", _gaps([one[1] for one in read], [1] * len(read)), "a reading")
        yield _memory(size, memory[1:])


def _take(database: Database, entries: int, chunk: int) -> float:
    """Take about so many entries of the mix; return the seconds an entry."""
    wanted = max(1, entries // _ENTRIES_OF_ONE)
    texts = in_turns(conversations(wanted, first=chunk * wanted))
    return _timed(database, texts)


def _take_each(database: Database, names: Sequence[str]) -> float:
    with database.write() as tx:
        for name in names:
            create_organization(tx, name, name, parent=None, actor="bench", now=NOON)
            set_mode(tx, name, Mode.CONSENT, actor="bench", now=NOON)
    mix = in_turns(conversations(_SMALL // _ENTRIES_OF_ONE))
    return _timed(database, [text | {"org": name} for name in names for text in mix])


def _timed(database: Database, texts: Sequence[dict[str, Any]]) -> float:
    intake = Intake(database)
    written, started = 0, time.perf_counter()
    for at in range(0, len(texts), 1_000):
        answers = intake.take(texts[at : at + 1_000])
        must_be_taken(answers)
        written += sum(len(answer["entries"]) for answer in answers)
    seconds = time.perf_counter() - started
    intake.close()
    return seconds / written


def _status_seconds(database: Database, destinations: Sequence[Destination]) -> float:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        status(database, destinations)
        seconds.append(time.perf_counter() - started)
    return middle(seconds)


def _explained(database: Database, to: Destination, size: str) -> Result:
    """Ask for the plans of what intake, deliveries, status and reconcile say to a database of this size."""
    with explained(database) as plans:
        _take(database, 200, _CHUNKS + 1)
        with database.read() as tx:
            with_work(tx, to)
        sync_now(database, [to], Rules())
        status(database, [to])
        reconcile(database, to)
    told = f"{len(plans.statements)} statements" + "".join(f"; {flaw}" for flaw in plans.flaws[:3])
    return Result(f"plans that read or sort more than a batch, {size}", told, "", len(plans.flaws), "", 0, at_most=True)


def _poisoned(database: Database, size: str, poison: int) -> Result:
    """Deliver the consent lane with and without an entry at which the destination always fails."""
    rates, left = [], 0
    for name, at in (("clean", None), ("poisoned", poison)):
        to = Destination(
            name, Everything(Capacity(batch=200), at), (Lane.CONSENT,), frozenset([ORGANIZATION])
        )  # fmt: skip
        started, settled = time.perf_counter(), 0
        for _ in range(2):  # the first ends at what looks like an outage
            settled += sync_now(database, [to], Rules())[0].settled
        rates.append(settled / (time.perf_counter() - started))
        with database.read() as tx:
            left = len(asides(tx, destination=name))
    if left != 1:
        raise RuntimeError(f"{left} entries are set aside, not the poison alone")
    return Result(
        f"beside a poison entry, {size}", f"{rates[1]:,.0f} entries/s", f"without {rates[0]:,.0f}/s",
        rates[1] / rates[0], "×", 0.9,
    )  # fmt: skip


def _behind(database: Database, store: Store, scale: Scale) -> Iterator[Result]:
    with database.write() as tx:
        create_organization(tx, "globex", "Globex", parent=None, actor="bench", now=NOON)
        set_mode(tx, "globex", Mode.CONSENT, actor="bench", now=NOON)
    with three(store, scale.salesforce_seconds) as destinations:
        # The consent lane is up to date; all that was ever said is owed.
        register(database, [replace(one, lanes=(Lane.CONSENT,), from_now=True) for one in destinations])
        with working(database, destinations) as intake:
            time.sleep(0.5)
            took = [sum((one[0], max(one[1]))) for one in [stop(database, intake, destinations) for _ in range(5)]]
            other = [max(stop(database, intake, destinations, "globex")[1]) for _ in range(5)]
            with database.read() as tx:
                left = [owed(tx, one, ORGANIZATION).count for one in destinations]
    behind = f"behind {scale.large:,} entries, {store.name}"
    told = f"slowest of 5; still owed {min(left):,} to {max(left):,}"
    yield Result(f"STOP at all destinations, {behind}", told, "", max(took), "s", 5, at_most=True)
    trip = scale.salesforce_seconds
    yield Result(
        f"one entry of another ledger, {behind}", f"slowest of 5; a call takes {trip:g} s", "", max(other), "s",
        1 + trip, at_most=True,
    )  # fmt: skip


def _stretches(pushes: Sequence[tuple[float, int]]) -> list[float]:
    """Return the seconds an entry over stretches of pushes (moment, entries): a few are settled at one time."""
    enough = sum(entries for _, entries in pushes) // _CHUNKS
    costs, (since, brought) = [], pushes[0]
    for at, entries in pushes[1:]:
        if brought >= enough:
            costs.append((at - since) / brought)
            since, brought = at, 0
        brought += entries
    return costs


def _gaps(moments: Sequence[float], entries: Sequence[int]) -> list[float]:
    """Return the seconds an entry from each moment to the next."""
    return [
        (later - sooner) / max(1, count) for sooner, later, count in zip(moments, moments[1:], entries, strict=False)
    ]


def _even(subject: str, costs: Sequence[float], of: str) -> Result:
    """Compare the costs of the last fifth with those of the first, each by its median; the very first is warming up."""
    share = max(1, len(costs) // 5)
    first, last = middle(costs[1 : share + 1] or costs), middle(costs[-share:])
    told = f"{last * 1e6:,.1f} µs {of}"
    return Result(subject, told, f"at first {first * 1e6:,.1f} µs", last / first, "×", _EVEN, at_most=True)


def _of(destination: Destination) -> Everything:
    connector = destination.connector
    if not isinstance(connector, Everything):
        raise TypeError("this destination notes nothing")
    return connector


def _memory(size: str, before: Sequence[float]) -> Result:
    """Say by how much memory grew from the first of these moments to the most at one of them or now."""
    most = max(*before, _mib())
    return Result(f"memory, {size}", f"{most:,.0f} MiB in all", "grown by", most - before[0], "MiB", 32, at_most=True)


def _mib() -> float:
    """Return the memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
