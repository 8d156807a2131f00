"""Destinations come, wait and go; each is told how far all is."""

import threading
import time
from dataclasses import replace

import pytest

from connectors.memory import MemoryConnector
from consent.kinds import SYSTEM, Lane
from sync.choosing import Filters, Only
from sync.destinations import State, pause, register, resume, standing
from sync.port import SuspendedError, TransientError
from sync.receipts import cursor
from sync.resync import resync
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
    logged,
    owed_to,
    promised,
    rules,
    set_aside_for,
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


def test_a_destination_that_was_away_is_tried_at_once_when_somebody_resumes_it_and_status_says_when_else(
    acme, intake, to
):
    intake.take([text()])
    with to.connector.away():
        for _ in range(8):  # it is left alone for minutes by now
            deliver_all(acme, to)
    away = told(acme, to)
    resume(acme, to.name, "Mounted again", "ann", NOON)

    workers = Workers(acme, [to], rules(), poll_seconds=0.01)
    workers.start()
    wait_for(lambda: owed_to(acme, to) == 0)
    workers.drain(10)

    assert (away["state"], away["since"] < away["next_try_at"]) == ("retrying", True)
    assert (told(acme, to)["since"], told(acme, to)["next_try_at"]) == (None, None)


def test_a_sync_ends_where_somebody_pauses_the_destination_in_the_middle_of_a_backlog(acme, intake):
    to = destination(batch=1, in_flight=1)
    intake.take([text("Hi", contact=at) for at in range(40)])
    register(acme, [to])
    push, pushed = to.connector.push, []

    def pause_at_the_third(batch):
        pushed.append(batch)
        time.sleep(0.002)  # what takes no time is one push
        if len(pushed) == 3:
            pause(acme, to.name, "Migration", "ann", NOON)
        return push(batch)

    to.connector.push = pause_at_the_third
    done = deliver_all(acme, to, slice_seconds=0.001)

    assert (done.code, done.away) == ("paused", True)
    assert (len(pushed) < 30, done.owed > 100) == (True, True)


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


def test_a_resync_brings_nothing_to_a_paused_destination_be_it_paused_in_the_middle(acme, intake):
    to = destination(batch=5, in_flight=1)
    intake.take([text("Hi", contact=at) for at in range(20)])
    deliver_all(acme, to)
    to.connector.pushes.clear()

    def pause_it(so_far):
        if so_far.matched:
            pause(acme, to.name, "Migration", "ann", NOON)

    brought = []
    for progress in (pause_it, None):
        with pytest.raises(SuspendedError, match="destination resume memory"):
            resync(acme, to, Filters(), rules(), actor="ann", now=NOON, progress=progress)
        brought.append(sum(len(positions) for *_, positions, late in to.connector.pushes if late))

    assert brought[0] == brought[1] <= 5


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


def test_a_destination_that_was_paused_and_taken_out_of_the_settings_is_still_paused_when_it_is_put_back(
    acme, intake, to
):
    intake.take([text()])
    register(acme, [to])
    pause(acme, to.name, "Migration", "ann", NOON)
    register(acme, [])
    [gone] = status(acme, [])["destinations"]
    with pytest.raises(LookupError):
        resume(acme, to.name, "", "ann", NOON)

    back = deliver_all(acme, to)

    assert (gone["state"], gone["reason"].partition(";")[2]) == (
        "removed", " what it was delivered and refused is kept; when it is put back it is still paused: Migration",
    )  # fmt: skip
    assert (back.code, to.connector.pushes) == ("paused", [])
    assert (told(acme, to)["state"], told(acme, to)["reason"]) == ("paused", "Migration")


def test_a_destination_that_the_settings_at_hand_do_not_name_is_shown_as_removed_and_stays_as_it_is(acme, to):
    register(acme, [to])

    [row] = status(acme, [])["destinations"]

    assert (row["state"], "don't name it" in row["reason"]) == ("removed", True)
    with acme.read() as tx:
        assert standing(tx, to.name).state is State.OK


def test_a_process_with_other_settings_is_named_as_what_stops_deliveries(acme, intake, to):
    intake.take([text()])
    register(acme, [to])

    register(acme, [destination("other")])

    assert told(acme, to)["state"] == "removed"
    assert "give all processes the same settings" in told(acme, to)["reason"]


@pytest.fixture
def narrowed(acme, intake, to):
    """A destination that took two ledgers and now takes one, and what it refused and put off of the other."""
    found(acme, "globex")
    intake.take([text(), text(org="globex"), text(org="globex", contact=1)])
    bad, slow = ids(acme, "globex")[-2:]
    to.connector.refuse(bad, code="STRING_TOO_LONG")
    to.connector.delay(slow, retry_after=3600)
    deliver_all(acme, to)
    to.connector.accept(bad)
    to.connector.pushes.clear()
    return replace(to, organizations=frozenset({"acme", SYSTEM}))


def test_what_was_refused_of_a_ledger_that_a_destination_takes_no_more_is_never_brought_there_and_is_kept(
    acme, to, narrowed
):
    done = resync(acme, narrowed, Filters(only=Only.REFUSED), rules(), actor="ann", now=NOON)
    synced = deliver_all(acme, narrowed)

    assert (done.matched, done.total) == (0, 0)
    assert {organization for organization, *_ in to.connector.pushes} == {SYSTEM}
    assert (synced.set_aside, synced.refused, synced.owed) == (0, 0, 0)
    state = told(acme, narrowed)
    assert (state["state"], state["set_aside"], state["refused"]) == ("ok", 0, 0)
    assert state["delivered"] == len(ids(acme, "acme", SYSTEM))
    assert len(set_aside_for(acme, narrowed)) == 2
    assert (told(acme, to)["set_aside"], told(acme, to)["refused"]) == (1, 1)


def test_what_was_refused_of_a_lane_that_a_destination_takes_no_more_is_never_brought_there(acme, to, narrowed):
    lanes = {letter.lane for letter in set_aside_for(acme, to)}
    others = replace(to, lanes=tuple(lane for lane in Lane if lane not in lanes))

    done = resync(acme, others, Filters(only=Only.REFUSED), rules(), actor="ann", now=NOON)

    assert (done.matched, to.connector.pushes) == (0, [])
    assert (told(acme, others)["set_aside"], told(acme, others)["refused"]) == (0, 0)


def test_an_outage_is_over_when_the_ledger_that_it_lasts_for_is_taken_no_more_and_the_next_is_told(acme, intake, to):
    found(acme, "globex")
    intake.take([text(), text(org="globex")])
    with to.connector.away():
        deliver_all(acme, to)
    narrowed = replace(to, organizations=frozenset({"acme", SYSTEM}))

    with logged() as names:
        deliver_all(acme, narrowed)
    after = told(acme, narrowed)
    intake.take([text(contact=1)])
    with logged() as later, to.connector.away():
        deliver_all(acme, narrowed)

    assert names.count("destination.back") == 1
    assert (after["state"], after["reason"]) == ("ok", None)
    assert later.count("destination.away") == 1


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
