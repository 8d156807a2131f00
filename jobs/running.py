"""Reconciles and resyncs that a person starts in the portal or over HTTP: each goes on in a thread of its own."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import structlog

from consent.database import Database
from consent.kinds import SYSTEM, Kind
from consent.ledger import append, create_ledger
from consent.values import Record
from jobs.comparing import bring, compare, noted_bring, noted_compare
from sync.choosing import Filters
from sync.delivery import Rules
from sync.destinations import Destination
from sync.port import SuspendedError, TransientError
from sync.resync import AlreadyRunningError, Resynced, resync
from sync.runs import Noted

log = structlog.get_logger()


class Runs:
    """What this process reads back and brings again for people."""

    def __init__(self, database: Database, destinations: Sequence[Destination], rules: Rules) -> None:
        self._database, self._rules = database, rules
        self._destinations = {destination.name: destination for destination in destinations}
        self._at_work: list[tuple[threading.Thread, threading.Event]] = []

    def reconcile(self, name: str, *, organization: str | None, repair: bool, actor: str) -> str:
        """Begin to read back a destination and return the run's id; LookupError where there is no such destination."""
        destination = self._destination(name)
        with self._database.write() as tx:  # a resync writes its own record
            create_ledger(tx, SYSTEM)
            facts = {"operation": "reconcile", "destination": name, "actor": actor, "repair": repair}
            append(tx, SYSTEM, [Record(Kind.OPERATION, _now(), facts, {})], _now())
        stop = threading.Event()
        return self._start(
            name, stop,
            noted_compare(self._database, name, organization=organization, repair=repair, actor=actor, stop=stop),
            lambda run: compare(
                self._database, destination, run, organization=organization, repair=self._rules if repair else None,
                actor=actor, now=_now(),
            ),
        )  # fmt: skip

    def resync(self, name: str, filters: Filters, *, actor: str, resume: str | None = None) -> str:
        """Begin to bring entries again, or go on with an earlier run of sync's, and return the run's id."""
        destination = self._destination(name)
        stop = threading.Event()
        return self._start(
            name, stop, noted_bring(self._database, name, filters, resume=resume, actor=actor, stop=stop),
            lambda run: bring(
                self._database, destination, filters, self._rules, run, actor=actor, now=_now(), resume=resume
            ),
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
        self, name: str, stop: threading.Event, noting: AbstractContextManager[Noted], do: Callable[[Noted], object]
    ) -> str:
        stack = contextlib.ExitStack()
        told = stack.enter_context(noting)

        def work_on() -> None:
            try:
                with stack:
                    do(told)
            except (SuspendedError, TransientError, AlreadyRunningError, LookupError) as error:
                log.info("run.failed", destination=name, run=told.id, error=type(error).__name__)
            except Exception:
                log.exception("run.failed", destination=name, run=told.id)

        thread = threading.Thread(target=work_on, name=f"run-{name}", daemon=True)
        self._at_work = [(one, ends) for one, ends in self._at_work if one.is_alive()] + [(thread, stop)]
        thread.start()
        return told.id


def _now() -> int:
    return time.time_ns() // 1000
