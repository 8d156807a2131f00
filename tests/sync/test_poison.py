"""One entry at which a destination fails for ever holds up nobody: neither those behind it nor other ledgers."""

import pytest

from sync.workers import Workers
from tests.sync.sync_world import (
    deliver_all,
    destination,
    entries,
    found,
    ids,
    logged,
    owed_to,
    promised,
    rules,
    set_aside_for,
    text,
    told,
    wait_for,
)


@pytest.fixture
def poisoned(acme, intake):
    """600 entries, at one of which the destination answers 500 to whatever push holds it."""
    found(acme, "globex")
    intake.take([text("Hi", contact=at) for at in range(200)])
    poison = [entry for entry in entries(acme, "acme") if entry.lane == "consent"][137]
    to = destination(batch=50, in_flight=4)
    to.connector.break_at(poison.id)
    return to, poison


def test_a_poison_entry_is_set_aside_alone_and_all_others_arrive(acme, intake, poisoned):
    to, poison = poisoned

    ended = [deliver_all(acme, to) for _ in range(3)]
    intake.take([text("STOP", contact=3, at=60), text("Hi", org="globex")])
    deliver_all(acme, to)

    assert [done.owed for done in ended][1:] == [0, 0]
    assert to.connector.ids() == sorted(set(ids(acme)) - {poison.id})
    assert promised(acme, to) == set(to.connector.ids())
    [waiting] = set_aside_for(acme, to)
    assert (waiting.seq, waiting.state, waiting.code) == (poison.seq, "waiting", "500")
    assert "It fails at this entry alone" in waiting.advice
    assert to.connector.holds("decision", "opted_out")


def test_a_poison_entry_becomes_one_dead_letter_and_no_outage(acme, poisoned):
    to, poison = poisoned

    with logged() as events:
        for _ in range(6):
            deliver_all(acme, to, attempts=3)

    [dead] = set_aside_for(acme, to)
    assert (dead.seq, dead.state, dead.attempts) == (poison.seq, "refused", 3)
    assert (told(acme, to)["state"], told(acme, to)["refused"]) == ("ok", 1)
    assert [event for event in events if event.startswith("destination.")] == ["destination.away", "destination.back"]


def test_workers_find_a_poison_entry_by_themselves(acme, poisoned):
    to, poison = poisoned
    workers = Workers(acme, [to], rules(), poll_seconds=0.02)

    workers.start()
    wait_for(lambda: owed_to(acme, to) == 0)
    drained = workers.drain(10)

    assert drained
    assert to.connector.ids() == sorted(set(ids(acme)) - {poison.id})
