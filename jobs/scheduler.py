"""The clock of `assent serve`: APScheduler says when, and only wakes; the work is done by threads of our own.

Its job store is in memory and nothing is kept in it that must not be lost: two schedulers on one store have fired
a job twice, and a busy executor drops what it missed.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from consent.database import Database
from jobs.settings import JobsSettings
from sync.destinations import Destination
from sync.port import SuspendedError, TransientError
from sync.reconcile import reconcile

log = structlog.get_logger()


class Reconciler:
    """A thread that compares all destinations with the ledger whenever it is woken."""

    def __init__(self, database: Database, destinations: Sequence[Destination]) -> None:
        self._database, self._destinations = database, destinations
        self._wake, self._stop = threading.Event(), threading.Event()
        #: Since when it compares one destination, on the monotonic clock; None while it rests.
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Begin, or begin again when the run at work ends."""
        self._wake.set()

    def end(self, seconds: float) -> None:
        """Stop after the destination at hand."""
        self._stop.set()
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stop.is_set():
                return
            for destination in self._destinations:
                self._busy_since = time.monotonic()
                self._compare(destination)
            self._busy_since = None

    def busy_seconds(self) -> float:
        """Return how long it has been at the destination at hand; 0 while it rests."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _compare(self, destination: Destination) -> None:
        if self._stop.is_set():
            return
        try:
            found = reconcile(self._database, destination, stop=self._stop)
        except (TransientError, SuspendedError) as error:
            log.warning("reconcile.unreachable", destination=destination.name, code=error.code, advice=error.advice)
        except Exception:
            log.exception("reconcile.failed", destination=destination.name)
        else:
            differing = len(found.differences) + found.more
            tell = log.warning if differing else log.info
            tell("reconcile.finished", destination=destination.name, checked=found.checked, differing=differing)


class Heartbeats:
    """When each job of this process last gave a sign of life: what `/readyz` asks."""

    def __init__(self) -> None:
        self._watched: list[tuple[Callable[[], Mapping[str, float]], float]] = []

    def watch(self, quiet_seconds: Callable[[], Mapping[str, float]], most: float) -> None:
        """Ask this for how long each of some jobs has been quiet; more than `most` seconds is too long."""
        self._watched.append((quiet_seconds, most))

    def stalled(self) -> list[str]:
        """Return the jobs that have been quiet for too long."""
        return sorted(name for ask, most in self._watched for name, seconds in ask().items() if seconds > most)


def start_scheduler(
    settings: JobsSettings, wake_workers: Callable[[], None], wake_reconciler: Callable[[], None],
    heartbeats: Heartbeats | None = None, wake_upkeep: Callable[[str], None] | None = None,
) -> BackgroundScheduler:  # fmt: skip
    """Start ticking as the settings say; `shutdown()` ends it.

    `wake_upkeep` is told the name of what is due: `archive`, `dispose`.
    """
    ticked = time.monotonic()

    def tick() -> None:
        nonlocal ticked
        ticked = time.monotonic()
        wake_workers()

    scheduler = BackgroundScheduler(
        timezone="UTC",
        # A tick that was missed is made up for once, however late.
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    # A person's clock; the workers also look by themselves every [delivery] poll_seconds.
    scheduler.add_job(tick, IntervalTrigger(seconds=settings.deliver_seconds), id="deliver")
    if settings.reconcile:
        scheduler.add_job(wake_reconciler, CronTrigger.from_crontab(settings.reconcile, "UTC"), id="reconcile")
    for name, when in (("archive", settings.archive), ("dispose", settings.dispose)):
        if when and wake_upkeep is not None:
            scheduler.add_job(wake_upkeep, CronTrigger.from_crontab(when, "UTC"), [name], id=name)
    scheduler.start()
    if heartbeats is not None:
        # Between two ticks it rests.
        quiet = settings.deliver_seconds + settings.stalled_seconds
        heartbeats.watch(lambda: {"scheduler": time.monotonic() - ticked}, quiet)
    return scheduler
