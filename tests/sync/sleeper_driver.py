"""Does what one process at a time may do, a step each 50 ms: `sleeper_driver.py job|resync URL`.

Prints a line a step, and one for how it ended: to be put to sleep past its lease, and woken.
"""

import sys
import time

from connectors.memory import MemoryConnector
from consent.database import open_database
from jobs.scheduler import alone
from sync.choosing import Filters
from sync.resync import AlreadyRunningError, resync
from tests.sync.sync_world import NOON, destination, rules

LEASE_SECONDS = 1.0


class Slow(MemoryConnector):
    """Takes its time, and says so."""

    def push(self, batch):
        step()
        return super().push(batch)


def job(database):
    with alone(database, "dispose", lease_seconds=LEASE_SECONDS) as lost:
        while not lost.is_set():
            step()


def bring(database):
    to = destination(batch=1)
    to.connector.__class__ = Slow
    try:
        resync(database, to, Filters(), rules(lease_seconds=LEASE_SECONDS), actor="sleeper", now=NOON)
    except AlreadyRunningError:
        return
    say("went on to the end")


def step():
    say("step")
    time.sleep(0.05)


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    {"job": job, "resync": bring}[sys.argv[1]](open_database(sys.argv[2]))
    say("ended")
