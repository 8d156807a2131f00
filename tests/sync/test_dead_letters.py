"""What becomes of an entry that a destination refused: a person retries it, or gives it up and says why."""

import pytest

from consent.canonical import entry_id
from consent.kinds import SYSTEM
from consent.ledger import walk
from sync.choosing import Filters, Only
from sync.destinations import discard
from sync.port import Batch
from sync.reconcile import reconcile
from sync.resync import resync
from sync.status import status
from tests.sync.sync_world import NOON, deliver_all, destination, ids, rules, set_aside_for, text


@pytest.fixture
def refused(acme, intake):
    intake.take([text("Hi", contact=at) for at in range(4)])
    to = destination()
    bad = ids(acme, "acme")[3]
    to.connector.refuse(bad, code="STRING_TOO_LONG")
    deliver_all(acme, to)
    return to, bad


def test_a_discarded_letter_is_given_up_with_a_reason_that_becomes_an_entry(acme, refused):
    to, bad = refused

    discard(acme, set_aside_for(acme, to, "refused"), "closed by legal", "cli-1", NOON)
    deliver_all(acme, to)

    [row] = status(acme, [to])["destinations"]
    assert (row["refused"], row["owed"]) == (0, 0)
    assert row["delivered"] == len(ids(acme)) - 1
    assert bad not in to.connector.ids()
    with acme.read() as tx:
        operation = next(entry for entry in walk(tx, SYSTEM) if entry.facts()["operation"] == "discard")
    assert operation.facts()["entries"] == [bad]
    assert (operation.facts()["actor"], operation.revealed()["note"]) == ("cli-1", "closed by legal")
    assert reconcile(acme, to).agrees


def test_a_retried_letter_gets_through_when_its_cause_is_gone(acme, refused):
    to, bad = refused
    to.connector.accept(bad)

    done = resync(acme, to, Filters(only=Only.REFUSED), rules(), actor="cli-1", now=NOON)

    assert (done.matched, done.taken) == (1, 1)
    assert set_aside_for(acme, to) == []
    assert bad in to.connector.ids()


def test_what_a_destination_holds_though_we_believe_it_refused_it_is_settled_by_a_repair(acme, refused):
    to, bad = refused
    [letter] = set_aside_for(acme, to, "refused")
    to.connector.accept(bad)
    with acme.read() as tx:
        entry = next(one for one in walk(tx, "acme") if one.id == bad)
    to.connector.push(Batch(entry.organization, entry.lane, [entry]))  # an answer that was lost on the way back

    found = reconcile(acme, to)
    resync(acme, to, Filters(only=Only.UNSETTLED), rules(), actor="cli-1", now=NOON)

    assert [difference.problem for difference in found.differences] == ["unsettled"]
    assert entry_id(letter.organization, letter.seq) == bad
    assert set_aside_for(acme, to) == []
    assert reconcile(acme, to).agrees
