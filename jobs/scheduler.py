"""The clock of `assent serve`: APScheduler says when, and only wakes; the work is done by threads of our own.

Its job store is in memory and nothing is kept in it that must not be lost: two schedulers on one store have fired
a job twice, and a busy executor drops what it missed.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy.exc import DBAPIError

from consent.database import Database, run
from jobs.logs import DatabaseOutage
from jobs.schedules import interval_seconds, trigger_of
from sync import leases
from sync.clock import database_now
from sync.leases import Keeper, Lease
from sync.workers import holder_name

log = structlog.get_logger()

#: A lease of a job that a killed process held is free after this time.
_LEASE_SECONDS = 30.0
#: How often the scheduler's own clock is looked at.
_BEAT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Job:
    """Work that comes back."""

    name: str
    #: As `trigger_of` reads it; empty: never by itself.
    schedule: str
    #: Does it once; the event is set when it has to end.
    work: Callable[[threading.Event], None]
    #: A run that takes longer is stalled.
    most_seconds: float = 600.0
    #: Of several processes on one database, one at a time does it, and none that finds it was just done.
    alone: bool = True


class Jobs:
    """The jobs of one process: a thread each, woken by their schedules, never two runs of one job at once."""

    def __init__(self, database: Database, jobs: Sequence[Job]) -> None:
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            # A tick that was missed is made up for once, however late.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._beat = time.monotonic()
        self._runners = [_Runner(database, job) for job in jobs]
        self._scheduler.add_job(self._tick, IntervalTrigger(seconds=_BEAT_SECONDS), id="beat")
        for runner in self._runners:
            if runner.job.schedule:
                self._scheduler.add_job(runner.wake, trigger_of(runner.job.schedule), id=runner.job.name)
        self._scheduler.start()

    def wake(self, name: str) -> None:
        """Run a job now, or again when the run at work ends."""
        next(runner for runner in self._runners if runner.job.name == name).wake()

    def end(self, seconds: float) -> bool:
        """Stop ticking, let the runs at work end, and return whether all did in time."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        for runner in self._runners:
            runner.stop()
        until = time.monotonic() + seconds
        ended = [runner.join(max(0.0, until - time.monotonic())) for runner in self._runners]
        return all(ended)

    def stalled(self) -> list[str]:
        """Return the jobs whose run takes too long, and the scheduler where its clock stands still."""
        stalled = [runner.job.name for runner in self._runners if runner.busy_seconds() > runner.job.most_seconds]
        if time.monotonic() - self._beat > 12 * _BEAT_SECONDS:
            stalled.append("scheduler")
        return stalled

    def told(self) -> Mapping[str, "Told"]:
        """Return by job how its runs went."""
        return {runner.job.name: runner.told() for runner in self._runners}

    def _tick(self) -> None:
        self._beat = time.monotonic()


@dataclass(frozen=True, slots=True)
class Told:
    """How the runs of one job went in this process."""

    #: When the last run ended well, seconds since 1970; 0 where none did.
    succeeded_at: float
    succeeded: int
    failed: int
    #: What the last run that ended took, and for how long the one at work has been.
    seconds: float
    busy_seconds: float


class _Runner:
    """One job's thread."""

    def __init__(self, database: Database, job: Job) -> None:
        self.job = job
        self._database = database
        self._wake, self._stop = threading.Event(), threading.Event()
        #: Set when the run at work has to end: we are stopped, or another process is at it.
        self._ended = threading.Event()
        #: Since when a run is at work, on the monotonic clock; None while it rests.
        self._busy_since: float | None = None
        self._told = Told(0.0, 0, 0, 0.0, 0.0)
        self._thread = threading.Thread(target=self._go_round, name=f"job-{job.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stop.set()
        self._ended.set()
        self._wake.set()

    def join(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def busy_seconds(self) -> float:
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def told(self) -> Told:
        known = self._told
        return Told(known.succeeded_at, known.succeeded, known.failed, known.seconds, self.busy_seconds())

    def _go_round(self) -> None:
        outage = DatabaseOutage("job", job=self.job.name)
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stop.is_set():
                return
            started = self._busy_since = time.monotonic()
            try:
                ended_well = self._run()
                outage.over()
            except DBAPIError as error:
                outage.met(error)
                ended_well = False
            except Exception:
                log.exception("job.failed", job=self.job.name)
                ended_well = False
            self._busy_since = None
            self._note(ended_well, time.monotonic() - started)

    def _run(self) -> bool | None:
        """Do it, and return whether it was done; None where another process is at it, or was just now."""
        if not self.job.alone:
            self.job.work(self._stop)
            return True
        with alone(self._database, self.job.name, gap_micros=_gap_micros(self.job.schedule)) as lost:
            if lost is None:
                return None
            self._ended = lost
            if self._stop.is_set():  # before it could be told
                lost.set()
            self.job.work(lost)
        return True

    def _note(self, ended_well: bool | None, seconds: float) -> None:
        if ended_well is None:
            return
        known = self._told
        self._told = Told(
            time.time() if ended_well else known.succeeded_at, known.succeeded + ended_well,
            known.failed + (not ended_well), seconds, 0.0,
        )  # fmt: skip


@contextmanager
def alone(
    database: Database, name: str, *, gap_micros: int = 0, lease_seconds: float = _LEASE_SECONDS
) -> Iterator[threading.Event | None]:
    """Let this process do what one at a time does; None where another does it, or began within so many microseconds.

    The event is set when the right is lost: whoever slept past the lease finds another at work, and has to end.
    """
    right = _take_right(database, name, gap_micros, lease_seconds)
    if right is None:
        yield None
        return
    keeper = Keeper(database, lease_seconds)
    try:
        yield keeper.keep(right)
    finally:
        keeper.end()
        with database.write() as tx:
            leases.release(tx, right)


def _take_right(database: Database, name: str, gap_micros: int, lease_seconds: float) -> Lease | None:
    with database.write() as tx:
        right = leases.take(tx, "*", f"job {name}", holder_name(), lease_seconds)
        if right is None:
            return None
        now = database_now(tx)
        # Hosts' clocks differ a little: what another has just begun and ended isn't begun again.
        if 0 <= now - right.closed_at < gap_micros:
            leases.release(tx, right)
            return None
        sql = "UPDATE lease SET closed_at = ? WHERE organization = ? AND destination = ?"
        run(tx, sql, [now, right.organization, right.destination])
        return right


def _gap_micros(schedule: str) -> int:
    """Return within what time two runs are meant as one: half of a short interval, at most half a minute."""
    seconds = interval_seconds(schedule)
    return int(min(30.0, seconds / 2 if seconds is not None else 30.0) * 1_000_000) if schedule else 0


class Heartbeats:
    """What gives signs of life in this process: what `/readyz` asks."""

    def __init__(self) -> None:
        self._asked: list[Callable[[], Sequence[str]]] = []

    def watch(self, stalled: Callable[[], Sequence[str]]) -> None:
        """Ask this for the names of what gives no sign of life."""
        self._asked.append(stalled)

    def watch_quiet(self, quiet_seconds: Callable[[], Mapping[str, float]], most: float) -> None:
        """Ask this for how long each of some threads has been quiet; more than `most` seconds is too long."""
        self.watch(lambda: [name for name, seconds in quiet_seconds().items() if seconds > most])

    def stalled(self) -> list[str]:
        """Return what has been quiet for too long."""
        return sorted(name for ask in self._asked for name in ask())
