"""Two hundred thousand entries: delivered in flat memory, and read back in few calls."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.salesforce.connector import SalesforceConnector
from consent.database import open_database
from consent.entry import seal
from sync.choosing import Filters, Only
from sync.migrate import upgrade
from sync.port import Batch
from sync.reconcile import Problem, reconcile
from sync.resync import resync
from tests.salesforce.salesforce_world import NOON, OBJECT, RULES, destination, fill, short_record

ENTRIES = 100_000  # of each of two organizations
# Between the first tenth and the last. A list of what was delivered would be three times as much.
MOST_KIB = 8 * 1024


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('many')}/ledger.db")
    upgrade(database)
    for organization in ("acme", "bravo"):
        fill(database, ["Reply YES to talk"] * ENTRIES, organization, make=short_record)
    yield database
    database.dispose()


@pytest.fixture(scope="module")
def delivered(ledger, org_ready, empty_org):
    """What a process that delivered all of it tells."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.delivering", str(ledger.url), str(2 * ENTRIES), str(org_ready)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(told.stdout)


@pytest.fixture
def to(delivered, settings):
    connector = SalesforceConnector(settings())
    yield destination(connector)
    connector.shut()


def test_memory_stays_flat_over_two_hundred_thousand_entries(delivered, empty_org):
    assert (delivered["settled"], delivered["owed"]) == (2 * ENTRIES, 0)
    assert empty_org.counts()[OBJECT] == 2 * ENTRIES
    assert delivered["kib"][-1] - delivered["kib"][1] <= MOST_KIB


def test_what_differs_among_a_hundred_thousand_is_found_in_sixty_reads_and_mended_where_it_may_be(
    ledger, to, empty_org
):
    org = empty_org
    for seq in (17, 50_000):
        org.delete(OBJECT, "Entry_Id__c", f"acme-{seq:012d}")
    org.change(OBJECT, "Entry_Id__c", "acme-000000000400", Text__c="Reply NO")
    org.change(OBJECT, "Entry_Id__c", "acme-000000000401", Facts__c="{}")
    org.change(OBJECT, "Entry_Id__c", "acme-000000099999", Kind__c="review")
    stranger, double = (
        seal(short_record(seq, "not ours"), "acme", seq, pos, NOON, bytes(16))
        for seq, pos in ((700_000, 700_000), (700_001, 600))
    )
    to.connector.push(Batch("acme", "consent", [stranger, double]))
    before = reads(org)

    found = reconcile(ledger, to, organization="acme")
    spent = reads(org) - before
    resync(ledger, to, Filters(only=Only.DIFFERING, organization="acme"), RULES, actor="tester", now=NOON, found=found)
    left = reconcile(ledger, to, organization="acme")

    assert {(each.problem, each.pos) for each in found.differences} == {
        (Problem.MISSING, 17), (Problem.MISSING, 50_000),
        (Problem.DRIFTED, 400), (Problem.DRIFTED, 401), (Problem.DRIFTED, 99_999),
        (Problem.EXTRA, 700_000), (Problem.DUPLICATE, 600),
    }  # fmt: skip
    assert found.checked == ENTRIES
    assert spent <= 60
    # A fact can't be written over (the rules of the package refuse it), and what isn't ours isn't ours to delete.
    assert {(each.problem, each.pos) for each in left.differences} == {
        (Problem.DRIFTED, 99_999), (Problem.EXTRA, 700_000), (Problem.DUPLICATE, 600),
    }  # fmt: skip


def reads(org):
    """Return how many calls an org has answered."""
    return org.journal(after=10**9)["counters"]["requests"]
