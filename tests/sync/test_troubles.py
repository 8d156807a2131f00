"""A destination in trouble delays nobody but itself, and is told of twice: when it begins and when it is over."""

import threading
import time

import pytest

from sync.clock import database_now
from sync.destinations import register
from sync.intake import Intake
from sync.port import SuspendedError, TransientError
from sync.workers import Workers
from tests.sync.sync_world import (
    deliver_all,
    destination,
    found,
    ids,
    logged,
    owed_to,
    promised,
    rules,
    text,
    told,
    wait_for,
    work,
)


def test_a_destination_that_hangs_delays_no_other_and_status_says_what_is_owed(acme, intake):
    hanging, well = destination("hanging"), destination("well")
    gate = threading.Event()
    hanging.connector.hang_on(gate)
    workers = Workers(acme, [hanging, well], rules(), poll_seconds=0.02)
    workers.start()

    intake.take([text("Hi", contact=at) for at in range(20)])
    wait_for(lambda: owed_to(acme, well) == 0)
    during = told(acme, hanging)
    hanging.connector.hang_on(None)
    gate.set()
    wait_for(lambda: owed_to(acme, hanging) == 0)

    assert workers.drain(10)
    assert (during["state"], during["owed"]) == ("catching_up", len(ids(acme)))
    assert well.connector.ids() == hanging.connector.ids() == ids(acme)


def test_a_ledger_that_a_destination_can_not_take_delays_no_other_ledger(acme, intake):
    found(acme, "globex")
    intake.take([text("Hi", contact=at) for at in range(10)])
    to = destination(batch=500)
    to.connector.break_at(*ids(acme, "acme"))  # whatever it is brought of acme

    workers = Workers(acme, [to], rules(), poll_seconds=0.02)
    workers.start()
    intake.take([text("STOP", org="globex")])
    wait_for(lambda: to.connector.ids() == ids(acme, "globex"))

    assert workers.drain(10)
    assert told(acme, to)["state"] == "retrying"
    assert told(acme, to)["owed"] == len(ids(acme, "acme"))


def test_an_outage_that_three_processes_meet_in_many_ledgers_is_logged_twice(acme, database_url, open_databases, to):
    found(acme, *(f"org-{number}" for number in range(8)))
    processes = [
        Workers(open_databases(database_url), [to], rules(lease_seconds=1.0), poll_seconds=0.02) for _ in range(3)
    ]
    intake = Intake(acme)
    with logged() as events:
        with to.connector.away():
            for each in processes:
                each.start()
            wait_for(lambda: told(acme, to)["state"] == "retrying")
            intake.take([text(org=f"org-{number}") for number in range(8)])
            time.sleep(0.5)
            reason = told(acme, to)["reason"]
        wait_for(lambda: owed_to(acme, to) == 0 and told(acme, to)["state"] == "ok")
        for each in processes:
            each.drain(10)
    intake.close()

    assert [one for one in events if one.startswith("destination.")] == ["destination.away", "destination.back"]
    assert reason == "away: The destination in memory was told to be away: wait until it is told to be back."
    assert to.connector.ids() == ids(acme)
    assert promised(acme, to) == set(ids(acme))


@pytest.mark.parametrize(("asked", "least", "most"), [(600, 600, 602), (None, 0, 2), (864_000, 900, 900)])
def test_a_rate_limit_is_waited_for_as_asked_and_never_longer_than_a_quarter_of_an_hour(
    acme, intake, to, asked, least, most
):
    intake.take([text()])
    register(acme, [to])
    to.connector.fail_with(TransientError("429", "Too many calls: wait.", retry_after=asked))

    work(acme, to)

    with acme.read() as tx:
        due = tx.exec_driver_sql("SELECT due_at FROM lease WHERE organization = 'acme'").scalar_one()
        wait = (due - database_now(tx)) / 1_000_000
    assert least - 5 <= wait <= most
    assert to.connector.ids() == []
    # A person who asks for it now doesn't wait.
    assert deliver_all(acme, to).owed == 0


def test_credentials_that_are_revoked_and_restored_lose_nothing_and_spend_no_attempts(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(10)])
    to.connector.fail_with(SuspendedError("invalid_grant", "Rotate the key, then run `check`."), times=3)

    with logged() as events:
        refused = [deliver_all(acme, to) for _ in range(3)]
        restored = deliver_all(acme, to)

    assert [one.away for one in refused] == [True] * 3
    assert (restored.away, restored.owed, restored.refused) == (False, 0, 0)
    assert events.count("destination.suspended") == 3  # each time that a person had it tried
    assert to.connector.ids() == ids(acme)
