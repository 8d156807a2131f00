"""A ledger to deliver, an org as its destination, and what stands there afterwards."""

from connectors.salesforce.connector import SalesforceConnector
from consent.kinds import Kind, Lane
from consent.ledger import append, create_ledger
from consent.values import Record
from sync.delivery import Rules
from sync.destinations import Destination
from sync.syncing import sync_now

NOON = 1_795_428_000_000_000
OBJECT = "Assent_Entry__c"
RULES = Rules(lease_seconds=5.0)


def record(number, text):
    facts = {
        "to": "contact", "template": "mo.request.contact", "template_version": 1, "template_sha256": "0" * 64,
        "language": "en", "channel": "sms", "before": "none", "after": "pending", "origin": "mo",
    }  # fmt: skip
    values = {
        "line": "+14155550100",
        "contact": f"+1404{5_550_000 + number:07d}",
        "employee_name": "Ann Lee",
        "text": text,
    }
    return Record(Kind.AUTO_MESSAGE, NOON + number * 1_234_567, facts, values, f"{number:024x}", 1)


def short_record(number, text):
    """A record for where there are many, and what they say doesn't matter."""
    return Record(Kind.AUTO_MESSAGE, NOON + number * 1_234_567, {"to": "contact"}, {"text": text}, "conversation-1", 1)


def fill(database, texts, organization="acme", make=record):
    """Write one automatic message for each text."""
    with database.write() as tx:
        create_ledger(tx, organization)
    texts = list(texts)
    for at in range(0, len(texts), 1000):
        records = [make(at + number, text) for number, text in enumerate(texts[at : at + 1000])]
        with database.write() as tx:
            append(tx, organization, records, NOON)


def destination(connector: SalesforceConnector, *lanes):
    return Destination("salesforce", connector, lanes or (Lane.CONSENT,), frozenset(["acme"]))


def synced(database, to):
    """Run `assent sync` once, and return what it did."""
    return sync_now(database, [to], RULES)[0]
