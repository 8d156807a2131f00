"""What the org is told of ledger and org, where it refuses that and nothing else."""

from dataclasses import replace

import pytest

from consent.database import open_database
from consent.ledger import append
from sync import findings
from sync.destinations import State, standings
from sync.migrate import upgrade
from tests.salesforce.salesforce_world import NOON, OBJECT, destination, fill, record, synced

RUN = "Assent_Sync_Run__c"
REFUSED = [
    ({"row": {"key": "acme-consent", "statusCode": "REQUIRED_FIELD_MISSING", "message": "Required fields are missing"},
      "times": 1}, "REQUIRED_FIELD_MISSING: A field that we don't fill was made required on Assent Sync Run"),
    ({"route": "collections", "nth": 2, "status": 404, "errorCode": "INVALID_TYPE", "message": "sObject type"},
     "INVALID_TYPE: The object is missing, or hidden from the integration user"),
    ({"route": "collections", "nth": 2, "status": 400, "errorCode": "JSON_PARSER_ERROR", "message": "Unexpected"},
     "JSON_PARSER_ERROR: A value doesn't fit its field's type in this org"),
]  # fmt: skip


@pytest.fixture
def ledger(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/ledger.db")
    upgrade(database)
    fill(database, ["Hi", "Hello"])
    yield database
    database.dispose()


@pytest.mark.parametrize(("fault", "told"), REFUSED, ids=[told.partition(":")[0] for _, told in REFUSED])
def test_an_org_that_will_not_be_told_how_far_it_is_gets_every_entry_and_people_are_told(
    org, connect, ledger, fault, told
):
    to = destination(connect())
    armed = org.arm(**fault)

    refused = synced(ledger, to)
    assert org.struck(armed) == 1
    assert (refused.settled, refused.owed, org.counts()[OBJECT], list(org.rows(RUN))) == (2, 0, 2, [])
    with ledger.write() as tx:
        found = findings.findings(tx, [to])
        states = [one.state for one in standings(tx)]
        append(tx, "acme", [record(2, "STOP")], NOON)
    taken = synced(ledger, to)

    assert [(one.look, one.subject, one.differing) for one in found] == [("statement", "salesforce/acme", 1)]
    assert found[0].told.startswith(told)
    assert states == [State.OK]
    assert (taken.settled, org.counts()[OBJECT]) == (1, 3)
    assert [row["Settled__c"] for row in org.rows(RUN)] == [3]
    with ledger.read() as tx:
        assert findings.findings(tx, [to]) == []


def test_a_ledger_whose_org_is_told_takes_back_nothing_that_is_said_of_another(org, connect, ledger):
    fill(ledger, ["Hi"], "zeta")
    both = replace(destination(connect()), organizations=frozenset(["acme", "zeta"]))
    org.arm(row={"key": "acme-consent", "statusCode": "REQUIRED_FIELD_MISSING", "message": "Required"}, times=1)

    synced(ledger, both)

    assert [row["Run_Key__c"] for row in org.rows(RUN)] == ["zeta-consent"]
    with ledger.read() as tx:
        assert [(one.subject, one.differing) for one in findings.findings(tx, [both])] == [("salesforce/acme", 1)]
