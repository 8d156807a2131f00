"""Delivery: every entry is owed or held, whatever the destination does."""

import threading
import time
from dataclasses import replace

import pytest

from connectors.memory import MemoryConnector
from consent.kinds import Lane
from consent.ledger import read_lane
from sync.destinations import pause, register, resume
from sync.port import SuspendedError, TransientError
from sync.receipts import held_by
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
    work,
)

AWAY = TransientError("503", "The destination is away: wait.")


def test_everything_arrives_once_and_nothing_is_owed(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(20)])
    assert owed_to(acme, to) == len(ids(acme)) == 62

    done = deliver_all(acme, to)

    assert (done.settled, done.owed, done.set_aside, done.refused, done.away) == (62, 0, 0, 0, False)
    assert to.connector.ids() == ids(acme)
    assert promised(acme, to) == set(ids(acme))
    expected = {
        "name": "memory", "state": "ok", "owed": 0, "oldest_owed_seconds": None, "delivered": 62, "set_aside": 0,
        "refused": 0, "reason": None,
    }  # fmt: skip
    assert expected.items() <= told(acme, to).items()


def test_what_was_delivered_is_not_pushed_again(acme, intake, to):
    intake.take([text()])
    deliver_all(acme, to)
    pushes = list(to.connector.pushes)

    done = deliver_all(acme, to)

    assert (done.settled, to.connector.pushes) == (0, pushes)


def test_a_lane_that_the_destination_does_not_take_never_reaches_it(acme, intake):
    to = destination(lanes=(Lane.CONSENT,))
    intake.take([text()])

    deliver_all(acme, to)

    assert {entry.lane for entry in to.connector.entries()} == {"consent"}
    assert to.connector.ids() == sorted(entry.id for entry in entries(acme) if entry.lane == "consent")


def test_an_organization_that_the_destination_does_not_serve_never_reaches_it(acme, intake):
    found(acme, "globex")
    to = destination(organizations=frozenset({"globex"}))
    intake.take([text(org="acme"), text(org="globex")])
    pause_once(acme, to)

    deliver_all(acme, to)

    assert to.connector.ids() == ids(acme, "globex")


def pause_once(database, to):
    """Write to the system ledger."""
    register(database, [to])
    pause(database, to.name, "", "tester", NOON)
    resume(database, to.name, "", "tester", NOON)


@pytest.mark.parametrize(
    "shape", [{"batch": 1}, {"batch": 3, "in_flight": 8}, {"batch": 4, "in_flight": 8, "ordered": True}]
)
def test_however_a_destination_likes_to_be_fed_it_gets_all(acme, intake, shape):
    to = destination(**shape)
    intake.take([text("Hi", contact=at) for at in range(15)])

    deliver_all(acme, to)

    assert to.connector.ids() == ids(acme)
    for lane in Lane:
        pushed = [positions for _, name, positions, _ in to.connector.pushes if name == lane]
        assert sorted(sum(pushed, ())) == list(range(sum(len(one) for one in pushed)))
        if shape.get("ordered"):
            assert pushed == sorted(pushed)


@pytest.mark.parametrize("named", [tuple(Lane), tuple(reversed(Lane))])
def test_the_consent_lane_goes_first_in_whatever_order_the_settings_name_them(acme, intake, named):
    to = destination(lanes=named)
    intake.take([text("Hi", contact=at) for at in range(30)])

    deliver_all(acme, to)

    lanes = [lane for name, lane, _, _ in to.connector.pushes if name == "acme"]
    assert lanes == sorted(lanes, key=["consent", "messages", "audit"].index)


def test_a_stop_overtakes_a_backlog_that_is_being_worked(acme, database_url, intake, open_databases):
    to = destination(batch=2)
    intake.take([text("Hi", contact=at) for at in range(150)])
    assert deliver_all(acme, replace(to, lanes=(Lane.CONSENT,))).owed == 0
    to.connector.__class__ = Slow
    workers = Workers(open_databases(database_url), [to], rules(), poll_seconds=0.01)
    workers.start()
    wait_for(lambda: any(lane == "messages" for _, lane, _, _ in to.connector.pushes))

    intake.take([text("STOP", contact=7, at=100)])
    workers.wake()
    wait_for(lambda: owed_to(acme, to) == 0)

    assert workers.drain(10)
    lanes = [lane for organization, lane, _, _ in to.connector.pushes if organization == "acme"]
    assert lanes.index("messages") < last(lanes, "consent") < last(lanes, "messages") - 5
    assert to.connector.holds("decision", "opted_out")
    assert to.connector.ids() == ids(acme)


def test_a_stop_overtakes_what_is_late_however_much_that_is(acme, database_url, intake, open_databases):
    to = destination(batch=2)
    intake.take([text("Hi", contact=at) for at in range(100)])
    to.connector.delay(*(entry.id for entry in entries(acme, "acme") if entry.lane == "messages"))
    assert deliver_all(acme, to).set_aside >= 100
    with acme.write() as tx:
        tx.exec_driver_sql("UPDATE set_aside SET due_at = 1")
    to.connector.__class__ = Slow
    workers = Workers(open_databases(database_url), [to], rules(slice_seconds=0.1), poll_seconds=0.01)
    workers.start()
    wait_for(lambda: any(late for _, _, _, late in to.connector.pushes))

    intake.take([text("STOP", contact=7, at=100)])
    workers.wake()
    wait_for(lambda: owed_to(acme, to) == 0 and not set_aside_for(acme, to))

    assert workers.drain(10)
    lanes = ["late" if late else lane for organization, lane, _, late in to.connector.pushes if organization == "acme"]
    assert lanes.index("late") < last(lanes, "consent") < last(lanes, "late") - 5
    assert to.connector.ids() == ids(acme)


class Slow(MemoryConnector):
    """Takes its time, as a network does."""

    def push(self, batch):
        time.sleep(0.005)
        return super().push(batch)


def last(names, name):
    return len(names) - 1 - names[::-1].index(name)


def test_an_outage_is_ridden_out_and_nothing_is_lost_or_twice(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(10)])
    to.connector.fail_with(AWAY, times=1)

    first = deliver_all(acme, to)
    during = told(acme, to)
    second = deliver_all(acme, to)

    assert (first.away, first.code, first.advice) == (True, "503", AWAY.advice)
    assert (during["state"], during["reason"]) == ("retrying", f"503: {AWAY.advice}")
    assert during["owed"] > 0
    assert (second.away, second.owed) == (False, 0)
    assert to.connector.ids() == ids(acme)
    assert told(acme, to)["state"] == "ok"


def test_an_outage_is_logged_when_it_starts_and_when_it_ends_however_many_ledgers_see_it(acme, to):
    found(acme, "globex", "initech")
    with logged() as events:
        with to.connector.away():
            deliver_all(acme, to)
            deliver_all(acme, to)
        deliver_all(acme, to)
        deliver_all(acme, to)

    seen = [event for event in events if event in ("destination.away", "destination.back")]
    assert seen == ["destination.away", "destination.back"]


def test_a_lost_answer_leaves_one_copy(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(10)])
    to.connector.lose_answers(2)

    ended = [deliver_all(acme, to) for _ in range(3)]

    assert [done.away for done in ended] == [True, False, False]
    assert to.connector.ids() == ids(acme)
    assert owed_to(acme, to) == 0
    pushed = [(organization, lane, at) for organization, lane, positions, _ in to.connector.pushes for at in positions]
    assert len(pushed) == len(set(pushed)) + 11  # five, five more, and one alone to see whether it is there


def test_a_refused_entry_holds_up_nobody_and_waits_for_a_person(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(6)])
    bad = entries(acme, "acme")[7].id
    to.connector.refuse(bad, code="STRING_TOO_LONG", advice="Shorten the field.")

    done = deliver_all(acme, to)
    again = deliver_all(acme, to)

    assert (done.refused, done.owed, again.refused) == (1, 0, 1)
    assert to.connector.ids() == sorted(set(ids(acme)) - {bad})
    [dead] = set_aside_for(acme, to, "refused")
    assert (f"{dead.organization}-{dead.seq:012d}", dead.code, dead.advice, dead.attempts) == (
        bad, "STRING_TOO_LONG", "Shorten the field.", 1,
    )  # fmt: skip
    assert sum(positions.count(dead.pos) for _, lane, positions, _ in to.connector.pushes if lane == dead.lane) == 1


def test_a_destination_that_refuses_everything_is_suspended_instead_of_burying_its_entries(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(60)])
    to.connector.refuse(*ids(acme), code="NO_SUCH_FIELD")

    done = deliver_all(acme, to)

    assert (done.away, done.code) == (True, "NO_SUCH_FIELD")
    assert told(acme, to)["state"] == "suspended"
    # Batches of five: the tenth holds the fiftieth, and stays owed.
    assert done.refused == 45
    assert done.owed == len(ids(acme)) - 45


def test_a_suspended_destination_takes_what_is_owed_when_a_person_has_acted(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(60)])
    to.connector.refuse(*ids(acme), code="NO_SUCH_FIELD")
    deliver_all(acme, to)

    to.connector.accept(*ids(acme))
    done = deliver_all(acme, to)

    assert (done.owed, done.refused, done.away) == (0, 45, False)
    assert told(acme, to)["state"] == "ok"


def test_refusals_of_different_causes_suspend_nobody(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(40)])
    for at, entry in enumerate(ids(acme)):
        to.connector.refuse(entry, code=f"CAUSE_{at % 2}")

    done = deliver_all(acme, to, suspend_after=10)

    assert (done.away, done.owed, done.refused) == (False, 0, len(ids(acme)))


def test_one_accepted_entry_begins_the_count_of_refusals_anew(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(40)])
    lane = [entry.id for entry in entries(acme, "acme") if entry.lane == "consent"]
    to.connector.refuse(*(one for at, one in enumerate(lane) if at % 10), code="SAME")

    done = deliver_all(acme, to, suspend_after=12)

    assert (done.away, done.owed) == (False, 0)


def test_credentials_that_are_refused_suspend_and_name_what_to_do(acme, intake, to):
    intake.take([text()])
    to.connector.fail_with(SuspendedError("invalid_grant", "Rotate the key, then run `check`."))

    with logged() as events:
        done = deliver_all(acme, to)

    assert (done.away, done.advice) == (True, "Rotate the key, then run `check`.")
    assert (told(acme, to)["state"], told(acme, to)["reason"]) == (
        "suspended", "invalid_grant: Rotate the key, then run `check`.",
    )  # fmt: skip
    assert events.count("destination.suspended") == 1
    assert told(acme, to)["owed"] == len(ids(acme))


def test_workers_leave_a_suspended_destination_alone_until_the_hour_it_named(acme, intake, to):
    intake.take([text()])
    register(acme, [to])
    to.connector.fail_with(SuspendedError("LIMIT", "Wait for the quota.", until=1))
    work(acme, to)
    waits = told(acme, to)

    workers = Workers(acme, [to], rules(), poll_seconds=0.01)
    workers.start()
    wait_for(lambda: owed_to(acme, to) == 0)
    assert workers.drain(10)

    assert (waits["state"], waits["reason"]) == (
        "suspended", "LIMIT: Wait for the quota. It is tried again by itself at 1970-01-01T00:00Z",
    )  # fmt: skip
    assert told(acme, to)["state"] == "ok"
    assert to.connector.ids() == ids(acme)


def test_a_delayed_entry_is_set_aside_and_gets_a_late_receipt(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(6)])
    late = entries(acme, "acme")[9]
    to.connector.delay(late.id)

    first = deliver_all(acme, to)
    waiting = set_aside_for(acme, to, "waiting")
    second = deliver_all(acme, to)

    assert (first.set_aside, first.owed, second.set_aside) == (1, 0, 0)
    assert [(aside.seq, aside.attempts) for aside in waiting] == [(late.seq, 1)]
    assert ("acme", late.lane, (late.pos,), True) in to.connector.pushes
    assert to.connector.ids() == ids(acme)
    with acme.read() as tx:
        receipt = dict(held_by(tx, "acme", to.name, late.lane, late.pos, late.pos))[late.pos]
        rows = tx.exec_driver_sql("SELECT count(*) FROM late_receipt").scalar_one()
    [kept] = list(to.connector.find("acme", late.lane, late.pos, late.pos))
    assert (receipt.remote_id, receipt.digest, rows) == (kept.remote_id, kept.digest, 1)


def test_a_delayed_entry_is_tried_again_when_due_and_not_before(acme, intake, to):
    intake.take([text()])
    one = entries(acme, "acme")[2]
    to.connector.delay(one.id, retry_after=600)
    work(acme, to)

    early = work(acme, to)
    with acme.write() as tx:
        tx.exec_driver_sql("UPDATE set_aside SET due_at = 1")
    due = work(acme, to)

    assert (early.settled, due.settled) == (0, 1)
    assert set_aside_for(acme, to) == []


def test_an_entry_that_fails_alone_for_ever_becomes_a_dead_letter(acme, intake, to):
    intake.take([text()])
    one = entries(acme, "acme")[2]
    to.connector.delay(one.id, times=9)

    for _ in range(4):
        done = deliver_all(acme, to, attempts=3)

    [dead] = set_aside_for(acme, to)
    assert (dead.state, dead.attempts, done.refused, done.owed) == ("refused", 3, 1, 0)


def test_all_that_is_set_aside_is_tried_however_much_it_is(acme, intake, to):
    to = destination(batch=400)
    intake.take([text("Hi", contact=at) for at in range(400)])
    to.connector.delay(*ids(acme, "acme"))
    first = deliver_all(acme, to)
    assert first.set_aside == len(ids(acme, "acme")) > 1_000

    second = deliver_all(acme, to)

    assert (second.set_aside, second.owed) == (0, 0)
    assert to.connector.ids() == ids(acme)


def test_a_shorter_answer_leaves_the_rest_owed(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(10)])
    to.connector.answer_at_most(2, 1, 3)

    done = deliver_all(acme, to)

    assert done.owed == 0
    assert to.connector.ids() == ids(acme)
    assert promised(acme, to) == set(ids(acme))


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_shorter_answer_with_several_in_flight_loses_nothing(acme, intake, in_flight):
    to = destination(batch=3, in_flight=in_flight)
    intake.take([text("Hi", contact=at) for at in range(20)])
    to.connector.answer_at_most(1, 2, 1, 2, 1)

    deliver_all(acme, to)

    assert to.connector.ids() == ids(acme)
    assert promised(acme, to) == set(ids(acme))


def test_a_slow_batch_leaves_no_place_idle_for_those_behind_it(acme, intake):
    to = destination(batch=1, in_flight=2)
    intake.take([text("Hi", contact=at) for at in range(4)])
    two_others = threading.Semaphore(0)
    came: list[bool] = []

    class Slow(MemoryConnector):
        def push(self, batch):
            if batch.lane == Lane.CONSENT and batch.entries[0].pos == 0:
                came.append(two_others.acquire(timeout=10) and two_others.acquire(timeout=10))
            elif batch.lane == Lane.CONSENT:
                two_others.release()
            return super().push(batch)

    to.connector.__class__ = Slow

    deliver_all(acme, to)

    assert came == [True]
    assert promised(acme, to) == set(ids(acme))


def test_a_fault_of_the_connector_in_one_entry_is_that_entrys_refusal(acme, intake):
    to = destination(batch=8)
    intake.take([text("Hi", contact=at) for at in range(6)])
    bad = entries(acme, "acme")[6]

    class Faulty(MemoryConnector):
        def push(self, batch):
            if bad in batch.entries:
                raise KeyError("a mapping that forgot a field")
            return super().push(batch)

    to.connector.__class__ = Faulty

    with logged() as events:
        done = deliver_all(acme, to)

    assert (done.refused, done.owed) == (1, 0)
    assert to.connector.ids() == sorted(set(ids(acme)) - {bad.id})
    assert set_aside_for(acme, to)[0].code == "unexpected KeyError"
    assert events.count("push.failed") == 1


def test_receipts_tell_of_any_range_what_is_held_and_under_which_name(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(12)])
    lane = [entry for entry in entries(acme, "acme") if entry.lane == "consent"]
    to.connector.refuse(lane[3].id)
    to.connector.delay(lane[11].id, lane[12].id)
    deliver_all(acme, to)
    deliver_all(acme, to)
    kept = {one.pos: (one.remote_id, one.digest) for one in to.connector.find("acme", "consent", 0, 99)}

    for first, last in [(0, 23), (4, 4), (3, 3), (2, 5), (10, 13), (11, 11), (20, 99), (50, 60)]:
        with acme.read() as tx:
            told = {p: (r.remote_id, r.digest) for p, r in held_by(tx, "acme", to.name, "consent", first, last)}
        assert told == {pos: held for pos, held in kept.items() if first <= pos <= last}


def test_the_oldest_owed_entry_is_told_by_its_age(acme, intake, to):
    intake.take([text()])

    waiting = told(acme, to)

    assert (waiting["state"], waiting["owed"]) == ("catching_up", len(ids(acme)))
    with acme.read() as tx:
        assert read_lane(tx, "acme", "audit", 0, 1)[0].recorded_at == NOON
    assert waiting["oldest_owed_seconds"] >= 0
