"""Leases: one holder at a time, and whoever slept too long settles nothing."""

import threading

from consent.kinds import SYSTEM
from sync.delivery import End, deliver
from sync.destinations import register
from sync.intake import Intake
from sync.leases import Keeper, Lease
from sync.syncing import sync_now
from sync.workers import Workers
from tests.sync.sync_world import (
    deliver_all,
    destination,
    ids,
    lease_of,
    owed_to,
    promised,
    rules,
    text,
    wait_for,
    work,
)


def test_only_one_holder_works_a_destinations_ledger(acme, database_url, open_databases, to):
    other = open_databases(database_url)

    mine = lease_of(acme, to)
    theirs = lease_of(other, to)
    elsewhere = lease_of(other, to, organization=SYSTEM)

    assert (mine.fence, theirs) == (1, None)
    assert elsewhere is not None


def test_a_holder_that_slept_past_its_lease_settles_nothing(acme, database_url, open_databases, intake):
    to = destination(batch=100)
    intake.take([text("Hi", contact=at) for at in range(10)])
    register(acme, [to])
    gate = threading.Event()
    to.connector.hang_on(gate)
    tenures = []
    # Its keeper has died with its process's clock: nothing renews the lease.
    keeper, lease = Keeper(acme, 60.0), lease_of(acme, to, seconds=0.05)
    sleeper = threading.Thread(
        target=lambda: tenures.append(deliver(acme, to, lease, keeper, rules(), threading.Event()))
    )  # fmt: skip
    sleeper.start()
    wait_for(lambda: to.connector.pushes)

    to.connector.hang_on(None)
    done = sync_now(open_databases(database_url), [to], rules())[0]
    receipts_before = count(acme, "receipt")
    gate.set()
    sleeper.join()
    keeper.end()

    assert (done.owed, done.away) == (0, False)
    assert (tenures[0].end, tenures[0].settled) == (End.LOST, 0)
    assert count(acme, "receipt") == receipts_before
    assert promised(acme, to) == set(ids(acme)) == set(to.connector.ids())


def test_a_stale_holder_can_not_settle_let_go_or_renew(acme, to):
    stale = lease_of(acme, to, seconds=0.0)
    fresh = lease_of(acme, to, holder="another")

    assert (stale.fence, fresh.fence) == (1, 2)
    tenure = deliver(acme, to, stale, Keeper(acme, 60), rules(), threading.Event())
    assert (tenure.end, tenure.settled) == (End.LOST, 0)
    assert lease_of(acme, to) is None


def test_a_slow_push_keeps_its_lease(acme, database_url, open_databases, intake, to):
    intake.take([text()])
    register(acme, [to])
    gate = threading.Event()
    to.connector.hang_on(gate)
    tenures = []
    slow = threading.Thread(target=lambda: tenures.append(work(acme, to, seconds=0.3)))
    slow.start()
    wait_for(lambda: to.connector.pushes)

    taken = [lease_of(open_databases(database_url), to) for _ in range(3) if not gate.wait(0.2)]
    gate.set()
    slow.join()

    assert taken == [None, None, None]
    assert tenures[0].end is End.IDLE


def test_a_dead_workers_lease_runs_out_and_sync_waits_for_it(acme, intake, to):
    intake.take([text()])
    assert isinstance(lease_of(acme, to, seconds=0.3, holder="killed"), Lease)

    done = deliver_all(acme, to)

    assert (done.owed, to.connector.ids()) == (0, ids(acme))


def test_two_processes_at_work_on_one_destination_leave_one_copy_and_one_receipt(acme, database_url, open_databases):
    to = destination(batch=2)
    other = open_databases(database_url)
    intake = Intake(acme)
    workers = [Workers(database, [to], rules(lease_seconds=1.0), poll_seconds=0.01) for database in (acme, other)]
    for one in workers:
        one.start()

    for at in range(12):
        intake.take([text("Hi", contact=at)])
        workers[at % 2].wake()
    wait_for(lambda: owed_to(acme, to) == 0)
    drained = [one.drain(10) for one in workers]
    intake.close()

    assert drained == [True, True]
    assert to.connector.ids() == ids(acme)
    pushed = [one for one in to.connector.pushes if not one[3]]
    assert len({(organization, lane, pos) for organization, lane, positions, _ in pushed for pos in positions}) == (
        sum(len(positions) for _, _, positions, _ in pushed)
    )


def count(database, table):
    with database.read() as tx:
        return tx.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
