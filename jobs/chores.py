"""What the scheduled jobs of `assent serve` do."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing

import structlog

from consent.database import Database, run
from jobs.build import Parts, host_actor
from jobs.comparing import compare, noted_compare
from jobs.exits import Problem
from jobs.scheduler import Job
from sync import alarms, findings
from sync.clock import database_now
from sync.destinations import Destination
from sync.port import SuspendedError, TransientError

log = structlog.get_logger()

_DAY = 86_400_000_000
#: How long what is over is kept for whoever looks back.
_KEPT_DAYS = 400
#: Reading back one large destination may take so long.
_LONG = 6 * 3600.0
#: Who began a run that no person did.
_CLOCK = "schedule"


def chores(parts: Parts, wake_workers: Callable[[], None], watch: Callable[[threading.Event], None]) -> list[Job]:
    """Return the jobs that the settings ask for."""
    settings, database = parts.settings.jobs, parts.database
    stalled = settings.stalled_seconds
    return [
        # The workers of every process look for themselves.
        Job("deliver", settings.deliver, lambda _: wake_workers(), stalled, alone=False),
        Job("watch", settings.watch, watch, stalled, alone=False),
        Job("reconcile", settings.reconcile, lambda stop: compare_all(database, parts.destinations, stop), _LONG),
        Job("verify", settings.verify, lambda stop: verify_all(database, stop), _LONG),
        Job("archive", settings.archive, lambda stop: _keep_archives(parts, stop, wake_workers), _LONG),
        Job("dispose", settings.dispose, lambda _: _dispose(database), _LONG),
        Job("checkpoint", parts.settings.evidence.checkpoints, lambda stop: _sign(parts, stop), _LONG),
        Job("housekeeping", settings.housekeeping, lambda _: keep_house(database), _LONG),
    ]  # fmt: skip


def compare_all(database: Database, destinations: Sequence[Destination], stop: threading.Event) -> None:
    """Compare every destination with its receipts, and keep what was found."""
    for destination in destinations:
        if stop.is_set():
            return
        try:
            with noted_compare(
                database, destination.name, organization=None, repair=False, actor=_CLOCK, stop=stop
            ) as told:  # fmt: skip
                compare(database, destination, told, actor=_CLOCK, now=_now())
        except (TransientError, SuspendedError) as error:
            log.warning("reconcile.unreachable", destination=destination.name, code=error.code, advice=error.advice)
        except Exception:
            log.exception("reconcile.failed", destination=destination.name)


def verify_all(database: Database, stop: threading.Event) -> None:
    """Check every ledger against itself, and keep what was found."""
    from jobs.verifying import verify_ledgers

    for one in verify_ledgers(database):
        if stop.is_set():
            return
        if not one.ok:
            log.error("verify.different", organization=one.subject, problem=one.problem)
        with database.write() as tx:
            problem = one.problem[:1000] or None
            findings.note(tx, findings.VERIFY, one.subject, database_now(tx), len(one.problems), problem)


def keep_house(database: Database) -> None:
    """Clear away what is over long since, and let the database tidy itself."""
    with database.write() as tx:
        before = database_now(tx) - _KEPT_DAYS * _DAY
        dropped = alarms.drop_alarms(tx, before)
        runs = run(tx, "DELETE FROM resync WHERE started_at < ?", [before]).rowcount
    if not database.is_postgres:  # PostgreSQL does both by itself
        with closing(database.engine.raw_connection()) as connection:  # in no transaction
            connection.cursor().execute("PRAGMA optimize")
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    log.info("housekeeping.finished", alarms=dropped, resyncs=runs)


def _keep_archives(parts: Parts, stop: threading.Event, wake_workers: Callable[[], None]) -> None:
    from jobs.archiving import protect_archives, send_again

    try:
        protect_archives(parts.database, parts.destinations, stop=stop)
        if send_again(parts.database, parts.destinations, stop):
            wake_workers()
    except (TransientError, SuspendedError) as error:
        log.warning("archive.unreachable", code=error.code, advice=error.advice)
    except Problem as problem:  # a person is at it
        log.info("archive.busy", advice=str(problem))


def _sign(parts: Parts, stop: threading.Event) -> None:
    from jobs.evidence import sign_all
    from jobs.keys import signer_of

    if (signer := signer_of(parts.settings.evidence)) is not None:
        sign_all(parts.database, signer, stop)


def _dispose(database: Database) -> None:
    from jobs.disposing import dispose_all

    try:
        dispose_all(database, actor=host_actor(), now=_now())
    except Problem as problem:  # a person is at it
        log.info("dispose.busy", advice=str(problem))


def _now() -> int:
    return time.time_ns() // 1000
