"""Reconcile and resync: what a destination really holds, and how it is mended."""

import pytest

from connectors.memory import MemoryConnector
from consent.canonical import parse_timestamp
from consent.kinds import SYSTEM
from sync.choosing import Filters, Only
from sync.intake import Intake
from sync.port import Receipt, TransientError
from sync.receipts import held_by
from sync.reconcile import Problem, reconcile
from sync.resync import AlreadyRunningError, resync
from sync.resync_runs import runs
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
    set_aside_for,
    text,
)


@pytest.fixture
def to():
    return destination(batch=4)


@pytest.fixture
def full(acme, intake, to):
    """A database whose every entry the destination holds."""
    intake.take([text("Hi", contact=at) for at in range(12)])
    deliver_all(acme, to)
    return acme


def resynced(database, to, *, stop=None, **filters):
    options = {name: filters.pop(name) for name in ("dry_run", "resume", "progress") if name in filters}
    return resync(
        database, to, Filters(**filters), rules(), actor="tester", now=NOON, stop=stop, **options
    )  # fmt: skip


def differences(database, to):
    return [(one.problem, one.lane, one.pos) for one in reconcile(database, to).differences]


def some(database, lane, *positions):
    by_pos = {entry.pos: entry for entry in entries(database, "acme") if entry.lane == lane}
    return [by_pos[pos] for pos in positions]


def test_a_destination_that_holds_all_agrees(full, to):
    result = reconcile(full, to)

    assert (result.agrees, result.checked, result.held) == (True, len(ids(full)), len(ids(full)))


def test_a_record_that_somebody_deleted_is_missing(full, to):
    [gone] = some(full, "consent", 5)
    to.connector.forget(gone.id)

    assert differences(full, to) == [(Problem.MISSING, "consent", 5)]
    assert [one.entry for one in reconcile(full, to).differences] == [gone.id]


def test_a_record_that_somebody_changed_has_drifted(full, to):
    [changed] = some(full, "messages", 3)
    to.connector.spoil(changed.id)

    result = reconcile(full, to)

    assert [(one.problem, one.entry) for one in result.differences] == [(Problem.DRIFTED, changed.id)]


def test_a_record_that_the_ledger_does_not_know_is_extra(full, to, make_database_url, open_databases):
    stranger = open_databases(make_database_url())
    found(stranger, "acme")
    beside = destination("memory", batch=50)
    Intake(stranger).take([text("Hi", contact=at) for at in range(20)])
    deliver_all(stranger, beside)
    for entry in beside.connector.entries():
        if entry.id not in to.connector.ids():
            to.connector._take(entry)

    result = reconcile(full, to)

    extra = sorted(set(beside.connector.ids()) - set(ids(full)))
    assert sorted(one.entry for one in result.differences) == extra
    assert {one.problem for one in result.differences} == {Problem.EXTRA}


def test_a_push_whose_answer_was_lost_for_good_is_unsettled(acme, intake, to):
    intake.take([text()])
    one = entries(acme, "acme")[2]
    to.connector.delay(one.id)
    deliver_all(acme, to)
    to.connector._take(one)

    assert differences(acme, to) == [(Problem.UNSETTLED, one.lane, one.pos)]


def test_what_is_owed_refused_or_set_aside_is_no_difference(full, intake, to):
    intake.take([text("YES", contact=3, at=60)])
    to.connector.refuse(ids(full)[-1])
    to.connector.delay(ids(full)[-2], times=2)
    deliver_all(full, to)
    intake.take([text("Hello", contact=4, at=60)])

    assert owed_to(full, to) > 0
    assert reconcile(full, to).agrees


def test_more_differences_than_are_listed_are_counted(full, to):
    to.connector.forget(*ids(full, "acme"))

    result = reconcile(full, to, most=3)

    assert (len(result.differences), result.more, result.agrees) == (3, len(ids(full)) - 3, False)
    assert result.count(Problem.MISSING) == len(ids(full))


def test_one_organization_can_be_read_back_alone(full, intake, to):
    found(full, "globex")
    intake.take([text(org="globex")])
    deliver_all(full, to)
    to.connector.forget(*ids(full, "globex"))

    assert reconcile(full, to, organization="acme").agrees
    assert reconcile(full, to, organization="globex").count(Problem.MISSING) == len(ids(full, "globex"))


def test_an_absent_destination_can_not_be_read_back(full, to):
    with to.connector.away(), pytest.raises(TransientError):
        reconcile(full, to)


def test_a_destination_that_goes_on_taking_while_it_is_read_back_agrees(full, intake, to):
    class Busy(MemoryConnector):
        at = 0

        def find(self, organization, lane, first, last):
            self.at += 1
            intake.take([text("Hi", contact=100 + self.at)])
            deliver_all(full, to)
            return super().find(organization, lane, first, last)

    to.connector.__class__ = Busy

    assert reconcile(full, to).differences == []


# --- resync -------------------------------------------------------------------------------------------------------


def test_a_dry_run_counts_and_changes_nothing(full, to):
    before = list(to.connector.pushes), ids(full), promised(full, to)

    result = resynced(full, to, dry_run=True)

    assert (result.matched, result.dry_run) == (len(ids(full)), True)
    assert result.calls >= -(-result.matched // 4)
    assert (list(to.connector.pushes), ids(full), promised(full, to)) == before


def test_a_resync_brings_everything_again_and_leaves_one_copy_of_each(full, to):
    result = resynced(full, to)

    assert to.connector.ids() == ids(full, "acme")
    assert result.taken == result.matched == len(ids(full, "acme"))
    assert reconcile(full, to).agrees


def test_a_resync_stands_in_the_system_ledger_with_who_asked(full, to):
    result = resynced(full, to, only=Only.MISSING)

    [operation] = entries(full, SYSTEM)
    assert operation.facts() == {
        "operation": "resync", "destination": "memory", "actor": "tester", "run": result.run, "only": "missing",
    }  # fmt: skip


def test_what_the_receipts_know_is_not_written_again(full, to):
    resynced(full, to)

    with full.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM late_receipt").scalar_one() == 0


@pytest.mark.parametrize("damage", ["forget", "spoil"])
def test_a_resync_mends_what_is_missing_or_drifted_and_touches_nothing_else(full, to, damage):
    hurt = some(full, "consent", 2, 9) + some(full, "messages", 1)
    getattr(to.connector, damage)(*(entry.id for entry in hurt))
    to.connector.pushes.clear()
    only = Only.MISSING if damage == "forget" else Only.DRIFTED

    result = resynced(full, to, only=only)

    assert (result.taken, result.differences) == (3, {only.value: 3})
    late = {(lane, pos) for _, lane, positions, is_late in to.connector.pushes if is_late for pos in positions}
    assert late == {("consent", 2), ("consent", 9), ("messages", 1)}
    assert reconcile(full, to).agrees


def test_a_resync_of_what_was_refused_brings_it_when_the_destination_was_mended(acme, intake, to):
    intake.take([text("Hi", contact=at) for at in range(6)])
    bad = [entry.id for entry in entries(acme, "acme")[4:7]]
    to.connector.refuse(*bad)
    deliver_all(acme, to)
    to.connector.accept(*bad[:2])

    result = resynced(acme, to, only=Only.REFUSED)

    assert (result.matched, result.taken, result.refused) == (3, 2, 1)
    assert [f"acme-{aside.seq:012d}" for aside in set_aside_for(acme, to)] == bad[2:]
    assert promised(acme, to) == set(ids(acme, "acme")) - {bad[2]} == set(to.connector.ids())


def test_a_resync_can_be_narrowed_to_an_organization_a_time_a_conversation_or_an_entry(full, intake, to):
    found(full, "globex")
    intake.take([text(org="globex")])
    everything = entries(full)
    conversation = some(full, "messages", 4)[0].conversation
    middle = sorted(entry.recorded_at for entry in everything)[len(everything) // 2]
    deliver_all(full, to)

    def matched(**filters):
        return resynced(full, to, dry_run=True, **filters).matched

    assert matched(organization="globex") == len(ids(full, "globex"))
    assert matched(since=middle) + matched(until=middle) == len(everything)
    assert matched(conversations=(conversation,)) == 3
    assert matched(conversations=()) == 0
    assert matched(entry=("acme", 7)) == 1
    assert matched(since=parse_timestamp("2100-01-01T00:00:00Z")) == 0


def test_a_resync_that_was_cut_short_goes_on_where_it_was(full, to):
    seen = []

    def notice(so_far):
        seen.append(so_far)
        if len(seen) == 3:  # it began, and brought two pages
            to.connector.fail_with(TransientError("503", "The destination is away: wait."), times=1)

    with pytest.raises(TransientError):
        resynced(full, to, progress=notice)
    to.connector.pushes.clear()
    result = resynced(full, to, resume=seen[-1].run)

    late = [(lane, pos) for organization, lane, positions, is_late in to.connector.pushes if is_late
            for pos in positions if organization == "acme"]  # fmt: skip
    acme = [(entry.lane, entry.pos) for entry in sorted(entries(full, "acme"), key=lambda e: (e.lane, e.pos))]
    assert (result.run, seen[-1].matched) == (seen[0].run, 6)
    assert late == acme[6:]
    assert reconcile(full, to).agrees


def test_resyncs_are_listed_with_when_they_began_and_whether_they_are_at_work_or_were_cut(full, to):
    def listed(**which):
        with full.read() as tx:
            return runs(tx, **which)

    seen = []
    first = resynced(full, to, progress=lambda _so_far: seen.append(listed()[0]))
    to.connector.fail_with(TransientError("503", "The destination is away: wait."), times=1)
    with pytest.raises(TransientError):
        resynced(full, to)
    cut, done = listed()

    assert {(one.state, one.started_at) for one in seen} == {("running", done.started_at)}
    assert (done.run, done.state, cut.state) == (first.run, "done", "cut")
    assert (listed(limit=1), listed(after=cut.run), listed(destination="other")) == ([cut], [done], [])


def test_a_resync_asks_for_the_rest_again_where_the_destination_answered_for_a_part(full, to):
    everything = len(ids(full))
    to.connector.answer_at_most(1, 2)

    done = resynced(full, to, only=Only.ALL)

    assert done.taken == done.matched == everything


def test_an_unknown_run_can_not_be_resumed(full, to):
    with pytest.raises(LookupError):
        resynced(full, to, resume="0123456789ab")


def test_of_two_resyncs_of_one_destination_the_second_says_so(full, to):
    refused = []

    def again(_so_far):
        try:
            resynced(full, to)
        except AlreadyRunningError as error:
            refused.append(error)

    resynced(full, to, progress=again)

    assert refused


def test_a_resync_lets_what_is_owed_go_first(full, intake, to):
    intake.take([text("STOP", contact=3, at=60)])
    to.connector.pushes.clear()

    resynced(full, to)

    acme = [(lane, late) for organization, lane, _, late in to.connector.pushes if organization == "acme"]
    assert acme[0] == ("consent", False)
    assert to.connector.ids() == ids(full, "acme")


def test_what_was_disposed_of_is_not_brought_again(full, to):
    with full.write() as tx:
        tx.exec_driver_sql("UPDATE entry SET body = NULL, personal = NULL WHERE organization = 'acme' AND seq < 10")
    to.connector.pushes.clear()

    result = resynced(full, to, organization="acme")

    assert result.matched == len(ids(full, "acme")) - 10


def test_a_resync_writes_a_receipt_where_the_remote_answers_otherwise_than_before(full, to):
    [one] = some(full, "consent", 0)
    to.connector.forget(one.id)

    resynced(full, to, only=Only.MISSING)

    [kept] = list(to.connector.find("acme", "consent", 0, 0))
    with full.read() as tx:
        told = dict(held_by(tx, "acme", "memory", "consent", 0, 0))[0]
    assert told == Receipt(kept.remote_id, kept.digest)
