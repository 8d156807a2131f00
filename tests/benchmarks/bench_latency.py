"""How long one decision takes to all destinations: at rest, and behind a backlog."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from connectors.archive.connector import ArchiveConnector
from connectors.archive.directory import Directory
from connectors.portal.connector import PortalConnector, PortalSettings
from connectors.portal.protocol import new_secret
from connectors.salesforce.connector import SalesforceConnector
from consent.database import Database
from consent.kinds import Kind
from consent.ledger import read_seqs
from sync.delivery import Rules
from sync.destinations import Destination
from sync.intake import Intake
from sync.owed import with_work
from sync.port import Batch, Capacity, Connector, Finding, Held, Outcome, Receipt, Statement
from sync.workers import Workers
from tests.benchmarks.bench_salesforce import org
from tests.benchmarks.bench_server import serving
from tests.benchmarks.bench_world import ORGANIZATION, Result, Scale, Store, middle, must_be_taken
from tests.benchmarks.delivering import settings_of

_names = count()
_texts = count()
_PATIENCE = 120.0


class Noticing:
    """A connector that notes when each entry's receipt was in our hands: later than the remote's commit."""

    def __init__(self, inner: Connector) -> None:
        self._inner = inner
        self._more = threading.Condition()
        self._held: dict[str, float] = {}

    @property
    def capacity(self) -> Capacity:
        """As the connector's."""
        return self._inner.capacity

    def push(self, batch: Batch) -> Sequence[Outcome]:
        """Push, and note what was taken."""
        outcomes = self._inner.push(batch)
        now = time.perf_counter()
        with self._more:
            # The newest alone are asked for: a backlog of a million isn't kept.
            self._held |= {
                entry.id: now for entry, outcome in zip(batch.entries[-20:], outcomes[-20:], strict=False)
                if isinstance(outcome, Receipt)
            }  # fmt: skip
            while len(self._held) > 5_000:
                del self._held[next(iter(self._held))]
            self._more.notify_all()
        return outcomes

    def held_at(self, entry_id: str) -> float:
        """Wait for an entry, and return when it was taken."""
        with self._more:
            if not self._more.wait_for(lambda: entry_id in self._held, _PATIENCE):
                raise RuntimeError("an entry didn't arrive within two minutes")
            return self._held[entry_id]

    def find(self, organization: str, lane: str, first: int, last: int) -> Iterable[Held]:
        """As the connector does."""
        return self._inner.find(organization, lane, first, last)

    def check(self) -> Sequence[Finding]:
        """As the connector does."""
        return self._inner.check()

    def close(self, statement: Statement) -> None:
        """As the connector does."""
        self._inner.close(statement)

    def shut(self) -> None:
        """As the connector does."""
        self._inner.shut()


@contextmanager
def three(store: Store, seconds: float) -> Iterator[list[Destination]]:
    """Give Salesforce (a call takes so many seconds), an archive on disk, and a portal that is a process of its own."""
    with ExitStack() as stack:
        address, control = stack.enter_context(org())
        control.settings(latency_seconds=seconds)
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="assent-bench-")))
        archive = ArchiveConnector(Directory(folder / "archive"))
        archive.prepare()
        secret, other = new_secret(), stack.enter_context(store.fresh())
        url = stack.enter_context(serving("portal", other.url, secret))
        connectors: dict[str, Connector] = {
            "salesforce": SalesforceConnector(settings_of(address)),
            "archive": archive,
            "portal": PortalConnector(PortalSettings(f"{url}/portal", (secret,))),
        }
        number = next(_names)
        yield [Destination(f"{name}-{number}", Noticing(connector)) for name, connector in connectors.items()]
        for connector in connectors.values():
            connector.shut()


def latency(store: Store, scale: Scale) -> Iterator[Result]:
    """Send STOPs into a system at rest."""
    seconds = scale.salesforce_seconds
    with store.fresh() as database, three(store, seconds) as destinations, working(database, destinations) as intake:
        stop(database, intake, destinations)  # connected, signed in
        took = []
        for _ in range(scale.stops):
            rest(database, destinations)
            took.append(stop(database, intake, destinations))
    for at, name in enumerate(("Salesforce", "archive", "portal")):
        trip = seconds if name == "Salesforce" else 0.0
        figure = middle([arrived[at] for _, arrived in took]) * 1_000 - trip * 1_000
        of = f"a call of {trip * 1_000:.0f} ms taken off" if trip else ""
        yield Result(f"idle, from commit to {name}'s commit, {store.name}", of, "", figure, "ms", 100, at_most=True)
    slowest = max(committed + max(arrived) for committed, arrived in took)
    yield Result(f"STOP at all destinations, at rest, {store.name}", "slowest", "", slowest, "s", 2, at_most=True)


@contextmanager
def working(database: Database, destinations: Sequence[Destination]) -> Iterator[Intake]:
    """Deliver to these as a process at work does, and give its intake."""
    workers = Workers(database, destinations, Rules())
    workers.start()
    intake = Intake(database, committed=workers.wake)
    try:
        yield intake
    finally:
        intake.close()
        if not workers.drain(60):
            raise RuntimeError("a push didn't end within a minute")


def rest(database: Database, destinations: Sequence[Destination]) -> None:
    """Wait until nothing is owed, and every destination was told how far it is: that, too, is a call."""
    until = time.monotonic() + _PATIENCE
    while True:
        with database.read() as tx:
            if not any(with_work(tx, destination) for destination in destinations):
                return
        if time.monotonic() > until:
            raise RuntimeError("the system didn't come to rest within two minutes")
        time.sleep(0.02)


def stop(
    database: Database, intake: Intake, destinations: Sequence[Destination], organization: str = ORGANIZATION
) -> tuple[float, list[float]]:
    """Send a STOP; return the seconds to its commit, and from there to its receipt of each destination."""
    text = _stop_text(organization)
    started = time.perf_counter()
    [answer] = intake.take([text])
    committed = time.perf_counter()
    must_be_taken([answer])
    with database.read() as tx:
        written = read_seqs(tx, organization, [int(entry.rpartition("-")[2]) for entry in answer["entries"]])
    [decision] = [entry for entry in written if entry.kind == Kind.DECISION]
    arrived = [_noticing(one).held_at(decision.id) - committed for one in destinations]
    return committed - started, arrived


def _stop_text(organization: str) -> dict[str, Any]:
    number = next(_texts)
    return {
        "id": f"STOP{number:06d}", "org": organization, "channel": "sms", "sender": "contact", "line": "+14155559999",
        "contact": f"+1312{5_550_000 + number:07d}", "employee": {"id": "e9", "name": "Ann Lee"}, "text": "STOP",
        "sent_at": "2026-11-23T11:00:00Z",
    }  # fmt: skip


def _noticing(destination: Destination) -> Noticing:
    connector = destination.connector
    if not isinstance(connector, Noticing):
        raise TypeError("this destination notes nothing")
    return connector
