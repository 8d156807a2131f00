"""Reading back and bringing again, told of as runs: for the portal, the command line and the clock alike."""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from consent.database import Database
from sync import findings, receipts
from sync.choosing import Filters, Only
from sync.clock import database_now
from sync.delivery import Rules
from sync.destinations import Destination
from sync.owed import aside_counts, owed_everywhere
from sync.reconcile import Problem, Reconciled, reconcile
from sync.resync import Resynced, resync
from sync.runs import Noted, Work, noted

#: Differences that are kept by name in a run's record.
_NAMED = 50


@dataclass(frozen=True, slots=True)
class Compared:
    """What a destination was found to hold, and what still differs after a repair."""

    found: Reconciled
    left: Reconciled
    repaired: int = 0
    #: True where somebody ended it before all was read back.
    stopped: bool = False


def noted_compare(
    database: Database, name: str, *, organization: str | None, repair: bool, actor: str, stop: threading.Event
) -> AbstractContextManager[Noted]:
    """Tell of a comparison of a destination as a run with what was asked, as `sync.runs.noted` does."""
    asked = {"repair": repair}
    return noted(database, Work.RECONCILE, name, actor=actor, organization=organization, asked=asked, stop=stop)


def noted_bring(
    database: Database, name: str, filters: Filters, *, resume: str | None = None, budget: int | None = None,
    actor: str, stop: threading.Event,
) -> AbstractContextManager[Noted]:  # fmt: skip
    """Tell of what is brought to a destination again as a run with what was asked, as `sync.runs.noted` does."""
    asked = asdict(filters) | {"resume": resume, "budget": budget}
    return noted(database, Work.RESYNC, name, actor=actor, organization=filters.organization, asked=asked, stop=stop)


def compare(
    database: Database, destination: Destination, run: Noted, *, organization: str | None = None,
    repair: Rules | None = None, actor: str, now: int, progress: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Compared:  # fmt: skip
    """Read back what a destination holds; with rules to `repair` by, bring again what is missing or drifted.

    Raises TransientError and SuspendedError where it can't be asked, or is paused and something is to be brought.
    """
    total = _expected(database, destination, organization)

    def look(**more: Any) -> Reconciled:
        def tell(so_far: Reconciled) -> None:
            run.told = _told_reconciled(so_far, total) | more
            progress(run.told)

        seen = reconcile(database, destination, organization=organization, stop=run.stop, progress=tell)
        run.told = _told_reconciled(seen, total) | more | {"named": _named(seen)}
        return seen

    found = left = look()
    repaired = 0
    if repair is not None and found.differences and not run.stop.is_set():
        filters = Filters(only=Only.DIFFERING, organization=organization)
        repaired = resync(
            database, destination, filters, repair, actor=actor, now=now, stop=run.stop,
            found=None if found.more else found,
        ).taken  # fmt: skip
        left = look(repaired=repaired)
    if organization is None and not run.stop.is_set():  # half a look finds nothing out
        _note(database, left)
    return Compared(found, left, repaired, run.stop.is_set())


def bring(
    database: Database, destination: Destination, filters: Filters, rules: Rules, run: Noted, *, actor: str, now: int,
    resume: str | None = None, budget: int | None = None, progress: Callable[[Resynced], None] = lambda _: None,
) -> Resynced:  # fmt: skip
    """Bring the entries that match again, or go on with an earlier resync. Raises as `sync.resync.resync` does."""

    def tell(so_far: Resynced) -> None:
        run.told = _told_resynced(so_far)
        progress(so_far)

    done = resync(
        database, destination, filters, rules, actor=actor, now=now, stop=run.stop, resume=resume, budget=budget,
        progress=tell,
    )  # fmt: skip
    run.told = _told_resynced(done)
    if filters.only is Only.REFUSED:
        with database.read() as tx:
            kept, meant = letters_of(tx, destination, filters)
        if kept > meant:
            told = f"{kept - meant:,} are of ledgers or lanes that it takes no more, and were not brought"
            run.advice = f"{told}: name them in its settings again, or discard them"
    if done.stopped:  # at the end of its budget, too: it can be gone on with
        run.stop.set()
    return done


def letters_of(tx: Connection, destination: Destination, filters: Filters) -> tuple[int, int]:
    """Return how many dead letters of a destination match, and how many of those are of what it still takes."""
    name, org, code = destination.name, filters.organization, filters.code
    if filters.entry is None:
        causes = receipts.causes(tx, destination=name, organization=org)
        kept = sum(one.entries for one in causes if code in (None, one.code))
        of = None if org is None else [org]
        return kept, aside_counts(tx, destination, of, code=code).get("refused", 0)
    found = receipts.asides(tx, destination=name, organization=org, state="refused", code=code, limit=1_000_000)
    letters = [one for one in found if (one.organization, one.seq) == filters.entry]
    return len(letters), sum(destination.takes(one.organization) and one.lane in destination.lanes for one in letters)


def _expected(database: Database, destination: Destination, organization: str | None) -> int:
    """Return how many entries a destination should hold, about."""
    with database.read() as tx:
        shares = [one for one in owed_everywhere(tx, destination) if organization in (None, one.organization)]
        asides = aside_counts(tx, destination, [one.organization for one in shares])
    return sum(cursor for share in shares for cursor, _ in share.lanes.values()) - sum(asides.values())


def _note(database: Database, found: Reconciled) -> None:
    """Keep what a whole comparison of a destination found."""
    differing = len(found.differences) + found.more
    counts = {problem.value: found.count(problem) for problem in Problem}
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()) if count)
    with database.write() as tx:
        findings.note(tx, findings.RECONCILE, found.name, database_now(tx), differing, told or None)


def _named(found: Reconciled) -> list[list[str]]:
    """Return some of the differences by their entries' ids."""
    return [[one.problem.value, one.entry or one.remote_id or str(one.pos)] for one in found.differences[:_NAMED]]


def _told_reconciled(found: Reconciled, total: int) -> dict[str, Any]:
    """Return what a run's record holds of a reconciliation, finished or not."""
    return {
        "seen": found.checked, "total": max(total, found.checked), "held": found.held,
        "differences": len(found.differences) + found.more,
        "counts": {problem.value: found.count(problem) for problem in Problem},
    }  # fmt: skip


def _told_resynced(done: Resynced) -> dict[str, Any]:
    return {
        "seen": done.seen, "total": done.total, "matched": done.matched, "taken": done.taken,
        "refused": done.refused, "set_aside": done.set_aside, "calls": done.calls, "run": done.run,
    }  # fmt: skip
