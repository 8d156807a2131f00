"""Texts to take in, organizations that take them, destinations in memory, and what an auditor counts afterwards."""

import itertools
import threading
from contextlib import contextmanager

import structlog

from connectors.memory import MemoryConnector
from consent.canonical import timestamp
from consent.kinds import Lane
from consent.ledger import ledgers, walk
from consent.organizations import create_organization, set_mode
from consent.values import Mode
from sync.delivery import Rules, deliver
from sync.destinations import Destination
from sync.leases import Keeper, take
from sync.owed import owed
from sync.port import Capacity
from sync.receipts import asides, cursor, held_by
from sync.status import status
from sync.syncing import sync_now

NOON = 1_795_435_200_000_000  # 2026-11-23T12:00:00Z
SECOND = 1_000_000

_ids = itertools.count()


def text(said="Hi", *, sender="contact", contact=0, line=0, org="acme", at=0, **more):
    """One text as it comes in; `contact` and `line` are small numbers, `at` is in seconds after noon."""
    told = {
        "id": f"SM{next(_ids):08d}", "org": org, "channel": "sms", "sender": sender, "text": said,
        "line": f"+1415555{line:04d}", "contact": f"+1404555{contact:04d}", "sent_at": timestamp(NOON + at * SECOND),
    }  # fmt: skip
    if sender == "employee":
        told["employee"] = {"id": f"e{line}", "name": "Ann Lee"}
    return told | more


def found(database, *names, mode=Mode.CONSENT):
    """Create main organizations that ask for consent."""
    with database.write() as tx:
        for name in names:
            create_organization(tx, name, name.capitalize(), parent=None, actor="test", now=NOON)
            set_mode(tx, name, mode, actor="test", now=NOON)


def destination(name="memory", *, lanes=tuple(Lane), organizations=None, from_now=False, **capacity):
    """A destination in memory."""
    connector = MemoryConnector(Capacity(**{"batch": 5} | capacity))
    return Destination(name, connector, lanes, organizations, from_now)


def rules(**changes):
    return Rules(**{"lease_seconds": 5.0, "slice_seconds": 0.5} | changes)


def deliver_all(database, *destinations, **changes):
    """Run `assent sync` over these destinations; return what it did for the first."""
    return sync_now(database, destinations, rules(**changes))[0]


def entries(database, *organizations):
    """Return all entries of these ledgers, or of all."""
    with database.read() as tx:
        return [entry for name in organizations or ledgers(tx) for entry in walk(tx, name)]


def ids(database, *organizations):
    return sorted(entry.id for entry in entries(database, *organizations))


def owed_to(database, to):
    with database.read() as tx:
        return sum(owed(tx, to, name).count for name in ledgers(tx) if to.takes(name))


def set_aside_for(database, to, state=None):
    with database.read() as tx:
        return asides(tx, destination=to.name, state=state, limit=100_000)


def promised(database, to):
    """Return the ids of the entries that receipts say a destination holds."""
    wanted = set()
    with database.read() as tx:
        for name in ledgers(tx):
            by_lane = {(entry.lane, entry.pos): entry.id for entry in walk(tx, name)}
            for lane in to.lanes if to.takes(name) else ():
                end = cursor(tx, name, to.name, lane)
                wanted |= {by_lane[lane, pos] for pos, _ in held_by(tx, name, to.name, lane, 0, end - 1)}
    return wanted


@contextmanager
def logged():
    """Collect the names of the log events, in order."""
    with structlog.testing.capture_logs() as events:
        names = []
        yield names
        names += [event["event"] for event in events]


def told(database, to):
    """Return a destination's line of `assent status`."""
    return next(row for row in status(database, [to])["destinations"] if row["name"] == to.name)


def lease_of(database, to, organization="acme", seconds=5.0, holder="tester"):
    with database.write() as tx:
        return take(tx, organization, to.name, holder, seconds)


def work(database, to, organization="acme", seconds=5.0, **how):
    """Work one lease as one tenure."""
    keeper = Keeper(database, seconds)
    lease = lease_of(database, to, organization, seconds)
    try:
        return deliver(database, to, lease, keeper, rules(lease_seconds=seconds), threading.Event(), **how)
    finally:
        keeper.end()


def wait_for(condition):
    """Wait until something is so; the test run's own time limit ends what never becomes so."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.005)
