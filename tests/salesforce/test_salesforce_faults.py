"""Every fault of the table at once, at random, over a ledger of 20,000 entries: each is there exactly once."""

import random
from contextlib import suppress

import pytest

from connectors.salesforce.standin.values import normalize
from consent.database import open_database
from sync.choosing import Filters, Only
from sync.port import SuspendedError, TransientError
from sync.reconcile import reconcile
from sync.resync import resync
from tests.salesforce.salesforce_world import NOON, OBJECT, RULES, destination, fill, synced
from tests.salesforce.test_salesforce_errors import CASES

ENTRIES = 20_000
TEXTS = [
    "STOP", "Hi 👋🏽👩‍👩‍👧‍👦 ok?", "first\nsecond\r\nthird\rfourth", "she said \"no\" and 'yes' \\ {x} <b>&amp;</b>",
    "long " * 320, "שלום עולם مرحبا \u202eabc\u202c", "nul\0inside", "  around  ", "\n\n", "\ttab\there",
    "\x07bell\x1b[31m",
    "e\u0301 é ﬁ", "\u2028line\u2029para", "𝕊𝕋𝕆ℙ", "'); DROP TABLE x; --", "null", "[Auto Message] Reply YES",
]  # fmt: skip
# What a socket, an edge in front of the org, and the org under load do.
TROUBLES = [
    *({"route": "collections", "cut": when} for when in ("before", "after")),
    *({"route": "collections", "mute": when} for when in ("before", "after")),
    *(
        {"route": "collections", "status": status, "html": True}
        for status in (406, 420, 429, 500, 502, 503, 504, 413, 431)
    ),
    *({"route": "collections", "status": status, "html": True, "when": "after"} for status in (500, 504)),
    {"route": "collections", "status": 503, "headers": {"Retry-After": "1"}}, {"route": "collections", "half": True},
    {"route": "collections", "gzip_broken": True}, {"route": "collections", "expire_sessions": True},
    {"route": "collections", "latency_seconds": 0.3}, {"route": "token", "status": 503, "html": True},
    {"tls": "cut"}, {"tls": "garbage"},
]  # fmt: skip


@pytest.fixture
def ledger(tmp_path):
    from sync.migrate import upgrade

    database = open_database(f"sqlite:///{tmp_path}/ledger.db")
    upgrade(database)
    fill(database, (f"{TEXTS[number % len(TEXTS)]}{number if number % 3 else ''}" for number in range(ENTRIES)))
    yield database
    database.dispose()


def test_with_every_fault_at_random_every_entry_is_there_once_with_its_text(org, connect, ledger):
    to = destination(connect(read_timeout=1.0))
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown where the test fails
    faults = armed(org, random.Random(seed))
    rounds = 0

    while rounds < 200:
        rounds += 1
        left = synced(ledger, to)
        if left.refused:
            with suppress(SuspendedError, TransientError):  # faults strike here, too: the next round goes on
                resync(ledger, to, Filters(only=Only.REFUSED), RULES, actor="tester", now=NOON)
        elif not (left.away or left.owed or left.set_aside):
            break

    assert {fault["id"] for fault in org.faults() if fault["struck"]} == set(faults)
    rows = {row["Entry_Id__c"]: row["Text__c"] for row in org.rows(OBJECT)}
    assert org.counts()[OBJECT] == len(rows) == ENTRIES
    for number in range(ENTRIES):
        sent = f"{TEXTS[number % len(TEXTS)]}{number if number % 3 else ''}"
        assert rows[f"acme-{number:012d}"] == (normalize(sent) or None)
    patient = destination(connect())  # a second is enough for what is mute, and too little to read all back
    assert reconcile(ledger, patient).agrees


def armed(org, chance):
    """Arm everything, each to strike once or a few times somewhere in the first calls, rows or connections."""
    calls = ENTRIES // 200
    wanted = [fault | {"nth": nth(fault, chance, calls), "times": chance.choice((1, 1, 1, 4))} for fault in TROUBLES]
    for status, code, message, _ in CASES:
        if status is None:
            row = {"statusCode": code, "message": message}
            wanted.append({"row": row, "nth": chance.randrange(1, ENTRIES), "times": chance.choice((1, 1, 5))})
        else:
            fault = {"route": "collections", "status": status, "errorCode": code, "message": message}
            wanted.append(fault | {"nth": chance.randrange(1, calls)})
    chance.shuffle(wanted)
    return [org.arm(**fault) for fault in wanted]


def nth(fault, chance, calls):
    """Return which request, among those that there will be for sure: logins and connections are few."""
    return chance.randrange(1, calls) if fault.get("route") == "collections" else 1
