"""Settling: receipts say what was answered, no more and no less, in as few rows as is safe."""

import pytest
from sqlalchemy.exc import DBAPIError

from connectors.memory import MemoryConnector
from consent.database import run
from sync.delivery import End
from sync.port import TransientError
from tests.sync.sync_world import deliver_all, destination, ids, owed_to, promised, text, work

AWAY = TransientError("503", "The destination is away: wait.")


def test_what_is_answered_at_once_is_settled_as_a_few_receipts(acme, intake):
    to = destination(batch=5)
    intake.take([text("Hi", contact=at) for at in range(400)])

    deliver_all(acme, to)

    settled = receipts(acme)
    assert len(to.connector.pushes) > 200
    assert len(settled) < len(to.connector.pushes) / 2
    assert max(last - first + 1 for _, first, last in settled) <= 1_004
    assert promised(acme, to) == set(ids(acme))


def test_where_order_matters_each_push_is_settled_before_the_next(acme, intake):
    to = destination(batch=5, ordered=True)
    intake.take([text("Hi", contact=at) for at in range(40)])

    deliver_all(acme, to)

    pushed = [(lane, pos[0], pos[-1]) for organization, lane, pos, _ in to.connector.pushes if organization == "acme"]
    assert receipts(acme) == sorted(pushed)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_what_was_answered_before_a_push_failed_counts(acme, intake, in_flight):
    to = destination(batch=5, in_flight=in_flight)
    intake.take([text("Hi", contact=at) for at in range(40)])
    with acme.read() as tx:
        [[broken]] = run(tx, "SELECT seq FROM entry WHERE organization = 'acme' AND lane = 'consent' AND pos = 22")
    to.connector.break_at(f"acme-{broken:012d}")

    done = deliver_all(acme, to)

    assert done.away
    assert max(last for lane, _, last in receipts(acme) if lane == "consent") == 19
    assert owed_to(acme, to) == len(ids(acme)) - len(promised(acme, to))
    assert promised(acme, to) <= set(to.connector.ids())


def test_a_database_that_fails_while_the_destination_is_away_ends_the_tenure(acme, intake):
    to = destination(batch=5, in_flight=1)
    intake.take([text("Hi", contact=at) for at in range(10)])

    class Away(MemoryConnector):
        def push(self, batch):
            with acme.write() as tx:
                run(tx, "ALTER TABLE entry RENAME TO elsewhere")
            raise AWAY

    to.connector.fail_with(AWAY)
    assert work(acme, to).end is End.AWAY  # the next tenure asks whether one entry makes it fail
    to.connector.__class__ = Away
    with pytest.raises(DBAPIError):
        work(acme, to)
    with acme.write() as tx:
        run(tx, "ALTER TABLE elsewhere RENAME TO entry")
    to.connector.__class__ = MemoryConnector

    assert deliver_all(acme, to).owed == 0
    assert promised(acme, to) == set(ids(acme))


def receipts(database):
    """Return one ledger's receipts as (lane, first position, last)."""
    with database.read() as tx:
        sql = "SELECT lane, first, last FROM receipt WHERE organization = 'acme' ORDER BY lane, first"
        return [tuple(row) for row in run(tx, sql)]
