"""Runs: told of while they are at work, ended by a word, and kept."""

import threading
import time

import pytest

from consent.database import run
from sync.port import TransientError
from sync.resync import AlreadyRunningError
from sync.runs import SILENT, RunState, Work, find_run, list_runs, noted, stop_run


def look(database, run_id):
    with database.read() as tx:
        return find_run(tx, run_id)


def test_a_run_is_told_of_while_it_is_at_work_and_kept_afterwards(database):
    with noted(database, Work.RESYNC, "archive", actor="usr-1", organization="acme", asked={"only": "all"}) as at_work:
        at_work.told = {"seen": 5}
        until = time.monotonic() + 10
        while not look(database, at_work.id).told and time.monotonic() < until:
            time.sleep(0.05)
        live = look(database, at_work.id)
    kept = look(database, at_work.id)

    assert (live.state, live.told, live.organization) == (RunState.RUNNING, {"seen": 5}, "acme")
    assert (kept.state, kept.asked, kept.actor) == (RunState.DONE, {"only": "all"}, "usr-1")


def test_a_run_is_stopped_from_elsewhere(database):
    with noted(database, Work.RECONCILE, "archive", actor="usr-1") as at_work:
        with database.write() as tx:
            assert stop_run(tx, at_work.id)
        stopped = at_work.stop.wait(10)

    assert stopped
    assert look(database, at_work.id).state is RunState.STOPPED
    with database.write() as tx:
        assert not stop_run(tx, at_work.id)


def test_a_run_is_stopped_with_all_that_it_belongs_to_and_never_stops_the_others(database):
    everything = threading.Event()
    with noted(database, Work.RECONCILE, "archive", actor="usr-1", stop=everything) as alone:
        with database.write() as tx:
            stop_run(tx, alone.id)
        assert alone.stop.wait(10)
        assert not everything.is_set()
    with noted(database, Work.RECONCILE, "portal", actor="usr-1", stop=everything) as together:
        everything.set()
        assert together.stop.wait(10)
    with noted(database, Work.RECONCILE, "salesforce", actor="usr-1", stop=everything) as at_once:
        pass

    ended = [look(database, one.id).state for one in (alone, together, at_once)]
    assert ended == [RunState.STOPPED] * 3


@pytest.mark.parametrize("signal", [KeyboardInterrupt(), SystemExit(143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_run_whose_command_a_signal_ends_was_stopped_and_has_not_failed(database, signal):
    with (
        pytest.raises(type(signal)),
        noted(database, Work.RECONCILE, "archive", actor="usr-1") as at_work,
    ):
        raise signal

    ended = look(database, at_work.id)
    assert (ended.state, ended.advice) == (RunState.STOPPED, None)


def test_a_run_that_fails_says_what_to_do(database):
    with (
        pytest.raises(TransientError),
        noted(database, Work.RECONCILE, "archive", actor="usr-1") as at_work,
    ):
        raise TransientError("unreachable", "the archive can't be reached: look after its disk")

    kept = look(database, at_work.id)
    assert kept.state is RunState.FAILED
    assert kept.advice == "unreachable: the archive can't be reached: look after its disk"


def test_a_run_that_another_was_in_the_way_of_says_so_and_has_not_failed(database):
    with (
        pytest.raises(AlreadyRunningError),
        noted(database, Work.RESYNC, "archive", actor="usr-1") as at_work,
    ):
        raise AlreadyRunningError("another resync or repair of this destination is running")

    ended = look(database, at_work.id)
    assert ended.state is RunState.STOPPED
    assert ended.advice == "another resync or repair of this destination is running: wait for it"


def test_a_run_that_fell_silent_is_taken_for_dead(database):
    with noted(database, Work.RESYNC, "archive", actor="usr-1") as at_work:
        pass
    with database.write() as tx:
        run(tx, "UPDATE run SET state = 'running', told_at = told_at - ? WHERE id = ?", [2 * SILENT, at_work.id])

    assert look(database, at_work.id).state is RunState.LOST


def test_runs_are_listed_newest_first_a_page_at_a_time(database):
    made = []
    for _ in range(5):
        with noted(database, Work.RESYNC, "archive", actor="usr-1") as at_work:
            made.append(at_work.id)
        time.sleep(0.002)

    with database.read() as tx:
        first = list_runs(tx, limit=3)
        rest = list_runs(tx, before=(first[-1].begun_at, first[-1].id), limit=3)
        other = list_runs(tx, destination="portal")

    assert [one.id for one in first + rest] == made[::-1]
    assert other == []
