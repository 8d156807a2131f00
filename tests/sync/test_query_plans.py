"""At size, PostgreSQL answers every query of the hot paths along a key: nothing reads a whole table, or sorts it."""

import pytest
import structlog

from connectors.memory import MemoryConnector
from consent.database import open_database, run
from consent.kinds import Lane
from consent.ledger import read_lane
from sync.choosing import Filters, Only
from sync.destinations import Destination, register
from sync.intake import Intake
from sync.owed import with_work
from sync.port import Capacity
from sync.receipts import asides
from sync.reconcile import reconcile
from sync.resync import resync
from sync.status import status
from sync.syncing import sync_now
from sync.workers import Workers
from tests.benchmarks.bench_world import conversations, fill, in_turns
from tests.sync.plans import explained
from tests.sync.sync_world import NOON, found, rules, text, wait_for

#: `make bench` asks the same of a million.
ENTRIES = 50_000
_LEDGERS = 100


@pytest.fixture(scope="module")
def large(postgres, postgres_template):
    """A ledger of 50,000 entries beside 100 small ones, most of it delivered, some refused, some set aside."""
    postgres.run(f"CREATE DATABASE large TEMPLATE {postgres_template} STRATEGY file_copy")
    database = open_database(postgres.url("large"))
    found(database, "acme", *(f"small-{number}" for number in range(_LEDGERS)))
    fill(database, ENTRIES)
    intake = Intake(database)
    with structlog.testing.capture_logs():
        for at in range(1_000):  # each a commit of its own, and so a head
            intake.take([text("Hi", contact=at)])
        destinations = stocked(database)
    yield database, *destinations
    database.dispose()


def stocked(database):
    """Deliver to two destinations, one of which refuses some and puts some off; return them."""
    well = Destination("well", MemoryConnector(Capacity(batch=1_000)))
    choosy, grim = (
        Destination(name, MemoryConnector(Capacity(batch=1_000)), (Lane.CONSENT,), frozenset({"acme"}))
        for name in ("choosy", "grim")
    )
    with database.read() as tx:
        some = [entry.id for entry in read_lane(tx, "acme", "consent", 0, 6_000)]
    choosy.connector.refuse(*some[0:900:3])
    choosy.connector.delay(*some[1:900:3], times=2, retry_after=600)
    grim.connector.refuse(*some)
    sync_now(database, [well, choosy, grim], rules(suspend_after=10_000))
    return well, choosy


def test_no_query_of_the_hot_paths_reads_a_whole_table_or_sorts_more_than_a_batch(large):
    database, well, choosy = large
    with structlog.testing.capture_logs(), explained(database) as plans:
        hot_paths(database, well, choosy)

    assert plans.flaws == [], "\n".join(sorted(set(plans.flaws)))
    told = set(" ".join(plans.statements).split())
    assert {"entry", "head", "inbox", "conversation", "set_aside"} <= plans.large
    for table in ("entry", "head", "inbox", "conversation", "receipt", "late_receipt", "set_aside", "lease"):
        assert table in told, f"no statement asked {table}: the plans show less than they say"


def hot_paths(database, well, choosy):
    """Take texts in, deliver, look, tell, read back and bring again."""
    intake = Intake(database)
    said = in_turns(conversations(4, first=900_000))
    intake.take([*said, text("STOPALL", contact=7), text("Hi", org="small-7")])
    intake.take(said)
    register(database, [well, choosy])
    workers = Workers(database, [well, choosy], rules(), poll_seconds=0.05)
    workers.start()
    wait_for(lambda: owed_by(database, well, choosy) == 0)
    workers.drain(30)
    with database.write() as tx:
        # Due in ten minutes; a clock set forward makes it now.
        run(tx, "UPDATE set_aside SET due_at = 1 WHERE organization = 'acme' AND destination = 'choosy' AND pos < 900")
    sync_now(database, [choosy], rules(suspend_after=10_000))
    status(database, [well, choosy])
    with database.read() as tx:
        asides(tx, destination="choosy", state="refused", limit=100)
    reconcile(database, well, organization="acme")
    resync(database, well, Filters(only=Only.ALL, organization="small-7"), rules(), actor="test", now=NOON)


def owed_by(database, *destinations):
    with database.read() as tx:
        return sum(len(with_work(tx, one)) for one in destinations)


def test_a_query_that_reads_a_whole_table_would_be_seen(large):
    database, *_ = large

    with explained(database) as plans, database.read() as tx:
        run(tx, "SELECT count(*) FROM entry WHERE kind = ?", ["decision"]).scalar_one()
        run(tx, "SELECT organization FROM entry ORDER BY leaf LIMIT 5000").fetchall()

    assert any(flaw.startswith("reads all of entry") for flaw in plans.flaws)
    assert any(flaw.startswith("sorts ") for flaw in plans.flaws)
