"""Turns: however much one ledger owes, another's STOP doesn't wait for it."""

import threading
import time

from connectors.memory import MemoryConnector
from consent.database import run
from sync.syncing import sync_now
from sync.workers import Workers
from tests.sync.sync_world import (
    deliver_all,
    destination,
    entries,
    found,
    ids,
    lease_of,
    owed_to,
    rules,
    set_aside_for,
    text,
    wait_for,
)


class Slow(MemoryConnector):
    """Takes its time, as a network does."""

    def push(self, batch):
        time.sleep(0.005)
        return super().push(batch)


def slow(**capacity):
    to = destination(**{"batch": 2} | capacity)
    to.connector.__class__ = Slow
    return to


def test_sync_brings_a_stop_past_the_backlog_of_another_ledger(acme, intake):
    found(acme, "globex")
    to = slow()
    intake.take([text("Hi", contact=at) for at in range(100)])
    intake.take([text("STOP", org="globex")])

    done = deliver_all(acme, to, slice_seconds=0.1)

    assert (done.owed, done.away, to.connector.ids()) == (0, False, ids(acme))
    pushed = [organization for organization, _, _, _ in to.connector.pushes]
    assert pushed.index("acme") < last(pushed, "globex") < last(pushed, "acme") - 50


def test_sync_brings_a_stop_that_was_said_while_it_works_at_another_ledger(acme, database_url, open_databases, intake):
    found(acme, "globex")
    to = slow()
    intake.take([text("Hi", contact=at) for at in range(100)])
    working = threading.Thread(target=sync_now, args=(open_databases(database_url), [to], rules(slice_seconds=0.1)))
    working.start()
    wait_for(lambda: len(to.connector.pushes) > 20)

    intake.take([text("STOP", org="globex")])
    working.join()

    pushed = [(organization, lane) for organization, lane, _, _ in to.connector.pushes]
    assert last(pushed, ("globex", "consent")) < last(pushed, ("acme", "messages")) - 25
    assert to.connector.ids() == ids(acme)


def test_sync_goes_on_with_other_ledgers_while_somebody_else_works_at_one(acme, database_url, open_databases, intake):
    found(acme, "globex")
    to = destination()
    intake.take([text("STOP"), text("STOP", org="globex")])
    lease_of(acme, to, "acme", seconds=2.0)
    started = time.monotonic()
    working = threading.Thread(target=sync_now, args=(open_databases(database_url), [to], rules(lease_seconds=2.0)))
    working.start()

    wait_for(lambda: set(ids(acme, "globex")) <= set(to.connector.ids()))
    until_globex = time.monotonic() - started
    working.join()

    assert until_globex < 1.5
    assert time.monotonic() - started > 1.5
    assert to.connector.ids() == ids(acme)


def test_sync_tries_what_is_set_aside_once_however_many_turns_that_takes(acme, intake):
    found(acme, "globex")
    to = slow(batch=1)
    intake.take([text("Hi", contact=at) for at in range(60)])
    intake.take([text("STOP", org="globex")])
    late = [entry.id for entry in entries(acme, "acme") if entry.lane == "messages"]
    to.connector.delay(*late, times=10)
    assert deliver_all(acme, to).set_aside == len(late)
    with acme.write() as tx:
        run(tx, "UPDATE set_aside SET due_at = 1")
    to.connector.pushes.clear()
    intake.take([text("STOP", org="globex", contact=1)])

    done = deliver_all(acme, to, slice_seconds=0.05)

    pushed = [(organization, positions[0]) for organization, _, positions, late in to.connector.pushes if late]
    assert (len(pushed), len(set(pushed)), done.set_aside) == (len(late), len(late), len(late))
    organizations = [organization for organization, _, _, _ in to.connector.pushes]
    assert organizations.index("globex") < last(organizations, "acme") - 20


def test_of_two_ledgers_written_to_the_one_that_had_its_turn_waits(acme, database_url, open_databases, intake):
    found(acme, "globex")
    to = slow()
    intake.take([text("Hi", contact=at) for at in range(150)])
    workers = Workers(open_databases(database_url), [to], rules(slice_seconds=0.3), poll_seconds=5.0)
    workers.start()
    wait_for(lambda: len(to.connector.pushes) > 10)

    intake.take([text("STOP", contact=7, at=100)])
    intake.take([text("STOP", org="globex")])
    workers.wake(["acme", "globex"])
    seen = len(to.connector.pushes)
    wait_for(lambda: set(ids(acme, "globex")) <= set(to.connector.ids()))
    taken = [organization for organization, _, _, _ in to.connector.pushes[seen:]]
    wait_for(lambda: owed_to(acme, to) == 0)

    assert workers.drain(10)
    # Not all that came until this test looked: that is a matter of how fast it looks.
    assert taken.index("globex") < 10


def test_a_ledger_for_which_nobody_waits_keeps_its_turn(acme, database_url, open_databases, intake):
    to = slow()
    intake.take([text("Hi", contact=at) for at in range(150)])
    workers = Workers(open_databases(database_url), [to], rules(slice_seconds=0.1), poll_seconds=0.2)
    workers.start()

    wait_for(lambda: owed_to(acme, to) == 0 and not set_aside_for(acme, to))

    assert workers.drain(10)
    with acme.read() as tx:
        fence = run(tx, "SELECT fence FROM lease WHERE organization = 'acme'").scalar_one()
    assert fence <= 2


def last(names, name):
    return len(names) - 1 - names[::-1].index(name)
