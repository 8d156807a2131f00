"""Takes texts in and delivers them by two workers while the clock is set: `clock_driver.py URL CLOCK`.

CLOCK is the file that libfaketime reads. Prints a JSON object: by how much the database's clock was off in each phase,
and what was left or twice in the end.
"""

import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

import structlog

from consent.database import open_database
from sync.clock import database_now
from sync.destinations import register
from sync.intake import Intake
from sync.port import TransientError
from sync.workers import Workers
from tests.ledger.auditing import assert_whole
from tests.sync.sync_world import destination, found, ids, lease_of, owed_to, promised, rules, set_aside_for, text

#: An hour back, a day ahead, and right again; each with what was there before.
JUMPS = ("-3600", "+86400", "-3600", "+0")


def main():
    url, clock = sys.argv[1], Path(sys.argv[2])
    one, other = open_database(url), open_database(url)
    found(one, "acme")
    to = destination(batch=10)
    intake = Intake(one)
    register(one, [to])
    workers = [Workers(database, [to], rules(lease_seconds=1.0), poll_seconds=0.05) for database in (one, other)]
    for each in workers:
        each.start()
    offsets = []
    for number, jump in enumerate(JUMPS):
        for each in workers:
            each.wake()
        intake.take([text("Hi", contact=number)])
        until(lambda: owed_to(one, to) == 0)
        # What hangs on the clock: an entry waits ten minutes, a ledger waits ten minutes, a dead worker holds another.
        to.connector.delay(f"acme-{len(ids(one, 'acme')):012d}", retry_after=600)
        intake.take([text("Hi", contact=100 + number)])
        until(lambda: set_aside_for(one, to, "waiting"))
        at = 60
        while not away(one):  # a worker that has just found it back lets all be tried at once: then it fails anew
            to.connector.fail_with(TransientError("503", "Wait.", retry_after=600))
            intake.take([text("YES", contact=number, at=at)])
            until(lambda: away(one) or owed_to(one, to) == 0)
            at += 60
        until(lambda: lease_of(one, to, "system", seconds=1.0, holder="killed"))
        write(clock, jump)
        with one.read() as tx:
            offsets.append(round(database_now(tx) / 1_000_000 - real()))
        intake.take([text("STOP", contact=200 + number)])
        until(lambda: owed_to(one, to) == 0 and not set_aside_for(one, to, "waiting"))
    drained = [each.drain(20) for each in workers]
    entries = assert_whole(one, "acme")
    recorded = [entry.recorded_at for entry in entries]
    print(json.dumps({
        "offsets": offsets, "drained": drained, "entries": len(ids(one)), "held": to.connector.ids() == ids(one),
        "promised": promised(one, to) == set(ids(one)), "in_order": recorded == sorted(recorded),
    }))  # fmt: skip


def away(database):
    with database.read() as tx:
        return tx.exec_driver_sql("SELECT count(*) FROM lease WHERE attempts > 0").scalar_one()


def write(clock, offset):
    draft = clock.with_suffix(".new")
    draft.write_text(offset)
    draft.chmod(0o644)
    draft.replace(clock)


def real():
    """Return the time of a file's change, which the kernel says, whatever a process believes."""
    probe = Path(sys.argv[2]).with_suffix(".probe")
    probe.write_text("")
    return probe.stat().st_mtime


def until(condition):
    deadline, pause = time.monotonic() + 60, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for didn't happen")
        pause.wait(0.01)  # what libfaketime leaves alone


if __name__ == "__main__":
    try:
        with structlog.testing.capture_logs():
            main()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # whatever the workers are at
