"""`assent sync`: everything that is owed now, once, destinations side by side; waits for others at work."""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import DBAPIError

from consent.database import Database, DatabaseError, explain
from sync import leases
from sync.delivery import End, Rules, Tenure, deliver
from sync.destinations import Destination, is_paused, register, require_not_paused, wake_suspended
from sync.late import END, START, Place
from sync.leases import Keeper
from sync.owed import aside_counts, owed_everywhere, with_something, with_waiting
from sync.port import SuspendedError
from sync.workers import holder_name, take

log = structlog.get_logger()

#: A destination that stayed away for so many ledgers in a row isn't asked to take the others.
_AWAY_IN_A_ROW = 3
#: How often somebody else's ledger is looked at again, where nothing else is to do.
_OTHERS_SECONDS = 0.1


@dataclass(slots=True)
class Synced:
    """What `sync_now` did for one destination."""

    name: str
    settled: int = 0
    #: Left over: what lies behind cursors, what waits for its next attempt, what waits for a person.
    owed: int = 0
    set_aside: int = 0
    refused: int = 0
    #: True if the destination stayed away or refuses us.
    away: bool = False
    code: str = ""
    advice: str = ""


def sync_now(
    database: Database, destinations: Sequence[Destination], rules: Rules, *, stop: threading.Event | None = None,
    progress: Callable[[str, Tenure], None] | None = None,
) -> list[Synced]:  # fmt: skip
    """Deliver all that is owed, and all that is set aside once; destinations side by side, each to its end.

    Waits for another process at work, or for a dead one's lease. A suspended destination is tried once.
    Raises DatabaseError where the database went away; what was settled until then is.
    """
    register(database, destinations, complete=False)
    keeper = Keeper(database, rules.lease_seconds)
    ended = stop or threading.Event()
    results = [Synced(destination.name) for destination in destinations]
    troubles: list[DBAPIError] = []
    threads = [
        threading.Thread(
            target=_sync_one, args=(database, destination, rules, keeper, ended, synced, troubles, progress)
        )
        for destination, synced in zip(destinations, results, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keeper.end()
    if troubles:
        raise DatabaseError(explain(troubles[0])) from troubles[0]
    return results


def _sync_one(
    database: Database, destination: Destination, rules: Rules, keeper: Keeper, stop: threading.Event, synced: Synced,
    troubles: list[DBAPIError], progress: Callable[[str, Tenure], None] | None,
) -> None:  # fmt: skip
    try:
        wake_suspended(database, destination.name, now_due=True)
        try:
            _sync_ledgers(database, destination, rules, keeper, stop, synced, progress)
        except SuspendedError as error:
            synced.away, synced.code, synced.advice = True, error.code, error.advice
        with database.read() as tx:
            synced.owed = sum(share.count for share in owed_everywhere(tx, destination))
            counts = aside_counts(tx, destination)
        synced.set_aside, synced.refused = counts.get("waiting", 0), counts.get("refused", 0)
    except DBAPIError as error:
        log.warning("sync.database_away", destination=destination.name, error=type(error.orig).__name__)
        troubles.append(error)
    except Exception as error:
        log.exception("sync.failed", destination=destination.name)
        synced.away, synced.code = True, type(error).__name__
        synced.advice = "unexpected: see the log line sync.failed"


def _sync_ledgers(
    database: Database, destination: Destination, rules: Rules, keeper: Keeper, stop: threading.Event, synced: Synced,
    progress: Callable[[str, Tenure], None] | None,
) -> None:  # fmt: skip
    """Go round the ledgers, a turn each, until none is owed anything: no backlog holds up another ledger's STOP.

    What is set aside is tried once; a ledger for which the destination stays away gets no second turn. Raises
    SuspendedError where a person paused the destination, be it meanwhile.
    """
    holder, away = holder_name(), 0
    #: By ledger: up to where what is set aside was tried.
    tried: dict[str, Place] = {}
    given_up: set[str] = set()
    require_not_paused(database, destination.name)
    while names := _with_work(database, destination, tried) - given_up:
        worked = False
        for name in sorted(names):
            if stop.is_set():
                return
            require_not_paused(database, destination.name)
            lease = take(database, destination, name, holder, rules)
            if lease is None:  # somebody is at work, or died at it: what they leave is ours
                continue
            worked = True
            tenure = deliver(
                database, destination, lease, keeper, rules, stop, everything_after=tried.get(name, START),
                make_room=_turn(database, destination, {name, *given_up}, rules.slice_seconds),
            )  # fmt: skip
            tried[name] = tenure.tried_to
            synced.settled += tenure.settled
            away = away + 1 if tenure.end is End.AWAY and not tenure.settled else 0
            if progress is not None:
                progress(destination.name, tenure)
            if tenure.recovered:
                leases.hurry(database, destination.name)
            if tenure.end in (End.AWAY, End.SUSPENDED):
                synced.away, synced.code, synced.advice = True, tenure.code, tenure.advice
                given_up.add(name)
            if tenure.end is End.SUSPENDED or away >= _AWAY_IN_A_ROW:
                return
        if not worked and stop.wait(_OTHERS_SECONDS):
            return


def _with_work(database: Database, destination: Destination, tried: Mapping[str, Place]) -> set[str]:
    with database.read() as tx:
        waiting = {name for name in with_waiting(tx, destination) if tried.get(name) != END}
        return {*with_something(tx, destination), *waiting}


def _turn(database: Database, destination: Destination, apart: Collection[str], seconds: float) -> Callable[[], bool]:
    """Return what tells whether a turn is over: it lasted this long, and ledgers that don't stand `apart` wait.

    Or a person paused the destination.
    """
    until = time.monotonic() + seconds

    def is_over() -> bool:
        nonlocal until
        if time.monotonic() < until:
            return False
        with database.read() as tx:
            if is_paused(tx, destination.name) or not set(with_something(tx, destination)).issubset(apart):
                return True
        until = time.monotonic() + seconds
        return False

    return is_over
