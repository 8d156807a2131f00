"""A process that is paused past its lease finds another at work when it wakes, and ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from jobs.scheduler import alone
from sync import leases
from tests.sync.sleeper_driver import LEASE_SECONDS
from tests.sync.sync_world import deliver_all, destination, text


@pytest.fixture
def asleep(database_url):
    """Start a process, put it to sleep in the middle of its work; return it when its lease is over."""
    started = []

    def begin(work):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.sync.sleeper_driver", work, database_url], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        while "step" not in process.stdout.readline():
            assert process.poll() is None
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(LEASE_SECONDS + 0.2)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wake(process):
    """Let it go on, and return the lines that it prints until it ends by itself."""
    os.kill(process.pid, signal.SIGCONT)
    told, _ = process.communicate(timeout=30)
    return told.split("\n")


def test_a_job_that_slept_past_its_lease_ends_beside_its_successor(acme, asleep):
    sleeper = asleep("job")

    with alone(acme, "dispose") as lost:
        told = wake(sleeper)
        held = lost is not None and not lost.is_set()

    assert held
    assert told[-2] == "ended"
    assert told.count("step") < 20
    assert sleeper.returncode == 0


def test_a_resync_that_slept_past_its_lease_leaves_the_rest_to_its_successor(acme, intake, asleep):
    intake.take([text("Hi", contact=at) for at in range(30)])
    deliver_all(acme, destination())
    sleeper = asleep("resync")
    with acme.write() as tx:
        assert leases.take(tx, "*", "resync memory", "successor", 60.0)

    told = wake(sleeper)

    assert "went on to the end" not in told
    assert told[-2] == "ended"
    assert told.count("step") < 20
    with acme.read() as tx:
        assert (
            tx.exec_driver_sql("SELECT holder FROM lease WHERE destination = 'resync memory'").scalar() == "successor"
        )
