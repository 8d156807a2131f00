"""Reconciles and resyncs that a person starts in the portal: each in a thread, told of in the database."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import structlog

from consent.database import Database
from consent.kinds import SYSTEM, Kind
from consent.ledger import append, create_ledger, read_positions
from consent.values import Record
from sync import findings, receipts
from sync.choosing import Filters, Only
from sync.clock import database_now
from sync.delivery import Rules
from sync.destinations import Destination
from sync.owed import owed_everywhere
from sync.port import SuspendedError, TransientError
from sync.reconcile import Problem, Reconciled, reconcile
from sync.resync import AlreadyRunningError, Resynced, resync
from sync.runs import Noted, Work, noted

log = structlog.get_logger()

#: Differences that are kept by name in a run's record.
_NAMED = 50


class Runs:
    """What this process reads back and brings again for people."""

    def __init__(self, database: Database, destinations: Sequence[Destination], rules: Rules) -> None:
        self._database, self._rules = database, rules
        self._destinations = {destination.name: destination for destination in destinations}
        self._at_work: list[tuple[threading.Thread, threading.Event]] = []

    def reconcile(self, name: str, *, organization: str | None, repair: bool, actor: str) -> str:
        """Begin to read back a destination and return the run's id; LookupError where there is no such destination."""
        destination = self._destination(name)
        asked = {"repair": repair}
        with self._database.write() as tx:  # a resync writes its own record
            create_ledger(tx, SYSTEM)
            facts = {"operation": "reconcile", "destination": name, "actor": actor, **asked}
            append(tx, SYSTEM, [Record(Kind.OPERATION, _now(), facts, {})], _now())
        return self._start(
            Work.RECONCILE, destination, organization, asked, actor,
            lambda noted: self._reconcile(destination, organization, repair, actor, noted),
        )  # fmt: skip

    def resync(self, name: str, filters: Filters, *, actor: str, resume: str | None = None) -> str:
        """Begin to bring entries again, or go on with an earlier run of sync's, and return the run's id."""
        destination = self._destination(name)
        asked = asdict(filters) | {"resume": resume}
        return self._start(
            Work.RESYNC, destination, filters.organization, asked, actor,
            lambda noted: self._resync(destination, filters, actor, resume, noted),
        )  # fmt: skip

    def foresee(self, name: str, filters: Filters, *, actor: str) -> Resynced:
        """Say what a resync would do; changes nothing."""
        return resync(
            self._database, self._destination(name), filters, self._rules, actor=actor, now=_now(), dry_run=True
        )  # fmt: skip

    def end(self, seconds: float) -> None:
        """Stop what is at work after what it has at hand."""
        for _, stop in self._at_work:
            stop.set()
        for thread, _ in self._at_work:
            thread.join(seconds)

    def _destination(self, name: str) -> Destination:
        if name not in self._destinations:
            raise LookupError("there is no such destination")
        return self._destinations[name]

    def _start(
        self, work: Work, destination: Destination, organization: str | None, asked: dict[str, Any], actor: str,
        do: Callable[[Noted], None],
    ) -> str:  # fmt: skip
        stack, stop = contextlib.ExitStack(), threading.Event()
        told = stack.enter_context(
            noted(
                self._database, work, destination.name, actor=actor, organization=organization, asked=asked, stop=stop
            )
        )

        def work_on() -> None:
            try:
                with stack:
                    do(told)
            except (SuspendedError, TransientError, AlreadyRunningError, LookupError) as error:
                log.info("run.failed", destination=destination.name, work=work.value, error=type(error).__name__)
            except Exception:
                log.exception("run.failed", destination=destination.name, work=work.value)

        thread = threading.Thread(target=work_on, name=f"{work.value}-{destination.name}", daemon=True)
        self._at_work = [(one, ends) for one, ends in self._at_work if one.is_alive()] + [(thread, stop)]
        thread.start()
        return told.id

    def _reconcile(
        self, destination: Destination, organization: str | None, repair: bool, actor: str, noted: Noted
    ) -> None:
        with self._database.read() as tx:
            shares = [one for one in owed_everywhere(tx, destination) if organization in (None, one.organization)]
            refused = sum(
                one.state != "waiting" for one in receipts.asides(tx, destination=destination.name, limit=10_000)
            )
        total = max(0, sum(cursor for share in shares for cursor, _ in share.lanes.values()) - refused)
        found = Reconciled(destination.name)
        with _watching(noted, lambda: told_reconciled(found, total)):
            reconcile(self._database, destination, organization=organization, stop=noted.stop, into=found)
        noted.told = told_reconciled(found, total) | {"named": self._named(found)}
        if repair and found.differences and not noted.stop.is_set():
            filters = Filters(only=Only.DIFFERING, organization=organization)
            again = resync(
                self._database, destination, filters, self._rules, actor=actor, now=_now(), stop=noted.stop,
                found=None if found.more else found,
            )  # fmt: skip
            left = reconcile(self._database, destination, organization=organization, stop=noted.stop)
            noted.told = told_reconciled(left, total) | {"repaired": again.taken, "named": self._named(left)}
            found = left
        if organization is None and not noted.stop.is_set():
            with self._database.write() as tx:
                differing = len(found.differences) + found.more
                findings.note(tx, findings.RECONCILE, destination.name, database_now(tx), differing)

    def _named(self, found: Reconciled) -> list[list[str]]:
        """Return some of the differences by their entries' ids; what is missing there is named by the ledger."""
        told = []
        with self._database.read() as tx:
            for one in found.differences[:_NAMED]:
                entry = one.entry
                if entry is None and one.problem is Problem.MISSING:
                    entry = next((each.id for each in read_positions(tx, one.organization, one.lane, [one.pos])), None)
                told.append([one.problem.value, entry or one.remote_id or str(one.pos)])
        return told

    def _resync(
        self, destination: Destination, filters: Filters, actor: str, resume: str | None, noted: Noted
    ) -> None:  # fmt: skip
        def tell(so_far: Resynced) -> None:
            noted.told = _told_resynced(so_far)

        done = resync(
            self._database, destination, filters, self._rules, actor=actor, now=_now(), stop=noted.stop,
            resume=resume, progress=tell,
        )  # fmt: skip
        tell(done)


def told_reconciled(found: Reconciled, total: int) -> dict[str, Any]:
    """Return what a run's record holds of a reconciliation, finished or not."""
    differences = list(found.differences)
    counts = {problem.value: sum(one.problem is problem for one in differences) for problem in Problem}
    return {
        "seen": found.checked, "total": max(total, found.checked), "held": found.held,
        "differences": len(differences) + found.more, "counts": counts,
    }  # fmt: skip


def _told_resynced(done: Resynced) -> dict[str, Any]:
    return {
        "seen": done.seen, "total": done.total, "matched": done.matched, "taken": done.taken,
        "refused": done.refused, "set_aside": done.set_aside, "calls": done.calls, "run": done.run,
    }  # fmt: skip


@contextlib.contextmanager
def _watching(noted: Noted, look: Callable[[], dict[str, Any]]) -> Any:
    """Tell how far something is that doesn't tell by itself."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.25):
            noted.told = look()

    watcher = threading.Thread(target=watch, name="run-watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _now() -> int:
    return time.time_ns() // 1000
