"""Destinations come, wait and go; each is told how far all is."""

import threading
from dataclasses import replace

import pytest

from connectors.memory import MemoryConnector
from consent.kinds import SYSTEM, Lane
from sync.destinations import State, pause, register, resume, standing
from sync.port import TransientError
from sync.receipts import cursor
from sync.status import status
from sync.syncing import sync_now
from sync.workers import Workers
from tests.sync.sync_world import (
    NOON,
    deliver_all,
    destination,
    entries,
    found,
    ids,
    owed_to,
    promised,
    rules,
    text,
    told,
    wait_for,
)

AWAY = TransientError("503", "The destination is away: wait.")


def test_a_new_destination_fills_up_from_the_start(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(10)])
    deliver_all(acme, to)
    newer = destination("newer")

    deliver_all(acme, to, newer)

    assert newer.connector.ids() == ids(acme)


def test_a_lane_added_later_fills_up_from_the_start(acme, intake, to):
    narrow = destination(lanes=(Lane.CONSENT,))
    intake.take([text("Hi", contact=at) for at in range(10)])
    deliver_all(acme, narrow)

    deliver_all(acme, to)

    assert sorted(narrow.connector.ids() + to.connector.ids()) == ids(acme)


def test_a_destination_from_now_on_gets_only_what_is_recorded_from_now_on(acme, intake):
    to = destination(from_now=True)
    intake.take([text("Hi", contact=at) for at in range(10)])
    before = ids(acme)
    register(acme, [to])

    assert deliver_all(acme, to).settled == 0
    intake.take([text("YES", contact=3, at=60)])
    deliver_all(acme, to)

    assert to.connector.ids() == sorted(set(ids(acme)) - set(before))
    assert told(acme, to)["delivered"] == len(to.connector.ids())
    assert promised(acme, to) == set(to.connector.ids())


def test_a_paused_destination_gets_nothing_until_it_is_resumed_and_both_stand_in_the_system_ledger(acme, intake, to):
    intake.take([text()])
    register(acme, [to])
    pause(acme, to.name, "Migration", "ann", NOON)

    paused = deliver_all(acme, to)
    state = told(acme, to)
    resume(acme, to.name, "Done", "ann", NOON)
    deliver_all(acme, to)

    assert (paused.away, paused.code, to.connector.pushes[0][0]) == (True, "paused", "acme")
    assert (state["state"], state["owed"], state["reason"]) == ("paused", len(ids(acme)) - 1, "Migration")
    operations = entries(acme, SYSTEM)
    assert [(one.facts()["operation"], one.facts()["actor"]) for one in operations] == [
        ("pause", "ann"), ("resume", "ann"),
    ]  # fmt: skip
    assert [one.revealed() for one in operations] == [{"note": "Migration"}, {"note": "Done"}]
    assert to.connector.ids() == ids(acme)


def test_workers_do_not_deliver_to_a_paused_destination(acme, intake, to):
    intake.take([text()])
    register(acme, [to])
    pause(acme, to.name, "", "ann", NOON)
    other = destination("other")

    workers = Workers(acme, [to, other], rules(), poll_seconds=0.01)
    workers.start()
    wait_for(lambda: owed_to(acme, other) == 0)
    workers.drain(10)

    assert to.connector.pushes == []


def test_pausing_an_unknown_destination_says_so(acme):
    with pytest.raises(LookupError):
        pause(acme, "nowhere", "", "ann", NOON)


def test_a_destination_that_the_settings_no_longer_name_keeps_its_receipts(acme, intake, to):
    intake.take([text()])
    deliver_all(acme, to)
    other = destination("other")

    register(acme, [other])
    with acme.read() as tx:
        assert standing(tx, to.name).state is State.REMOVED
        assert cursor(tx, "acme", to.name, "consent") > 0
    pushes = len(to.connector.pushes)
    deliver_all(acme, to, other)

    assert len(to.connector.pushes) == pushes
    assert told(acme, to)["state"] == "ok"


def test_a_renamed_destination_fills_up_again_and_holds_one_copy_of_each(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(10)])
    deliver_all(acme, to)
    intake.take([text("YES", contact=3, at=60)])
    renamed = replace(to, name="renamed")
    register(acme, [renamed])

    deliver_all(acme, renamed)

    assert to.connector.ids() == ids(acme)
    assert promised(acme, renamed) == set(ids(acme))
    with acme.read() as tx:
        assert standing(tx, to.name).state is State.REMOVED
    assert {row["name"]: row["state"] for row in status(acme, [renamed])["destinations"]} == {
        "renamed": "ok", "memory": "removed",
    }  # fmt: skip


def test_an_organization_and_a_destination_added_while_deliveries_run_get_everything(acme, intake, to):
    first = Workers(acme, [to], rules(), poll_seconds=0.01)
    first.start()
    intake.take([text()])
    found(acme, "globex")
    intake.take([text(org="globex")])
    wait_for(lambda: owed_to(acme, to) == 0)
    # Settings change by a new start; the old process may still be at work.
    newer = destination("newer")
    second = Workers(acme, [to, newer], rules(), poll_seconds=0.01)
    second.start()
    intake.take([text(org="globex", contact=5)])

    wait_for(lambda: owed_to(acme, to) == owed_to(acme, newer) == 0)
    drained = [workers.drain(10) for workers in (first, second)]

    assert drained == [True, True]
    assert to.connector.ids() == newer.connector.ids() == ids(acme)


def test_settings_that_change_in_the_middle_of_a_backlog_lose_nothing(acme, intake):
    intake.take([text("Hi", contact=at) for at in range(60)])
    wide = destination(batch=7, in_flight=3)
    for changed in (
        replace(wide, lanes=(Lane.AUDIT,)),
        replace(wide, lanes=(Lane.MESSAGES, Lane.CONSENT), organizations=frozenset({"acme"})),
        destination(batch=1), destination(batch=200, in_flight=8), wide,
    ):  # fmt: skip
        changed = replace(changed, connector=wide.connector)
        register(acme, [changed])
        stop = threading.Event()
        sync_now(acme, [changed], rules(), stop=stop, progress=lambda _name, _tenure, stop=stop: stop.set())

    deliver_all(acme, wide)

    assert wide.connector.ids() == ids(acme)
    assert promised(acme, wide) == set(ids(acme))


def test_a_destination_is_told_how_far_all_is_when_a_tenure_ends(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(7)])

    deliver_all(acme, to)

    by_ledger = {statement.organization: statement for statement in to.connector.statements}
    sizes = {ledger["organization"]: ledger for ledger in status(acme, [to])["ledgers"]}
    statement = by_ledger["acme"]
    assert (statement.size, statement.root.hex()) == (sizes["acme"]["size"], sizes["acme"]["root"])
    assert all(size == settled for size, settled in statement.lanes.values())
    assert sum(size for size, _ in statement.lanes.values()) == statement.size


def test_a_destination_that_was_away_when_it_was_to_be_told_is_told_later(acme, intake, to):
    intake.take([text()])

    class Deaf(MemoryConnector):
        def close(self, statement):
            raise AWAY

    to.connector.__class__ = Deaf
    away = deliver_all(acme, to)
    to.connector.__class__ = MemoryConnector
    deliver_all(acme, to)

    assert (away.away, away.owed) == (True, 0)
    assert [statement.organization for statement in to.connector.statements] == ["acme"]
