"""`assent sync`: everything that is owed now, once, destinations side by side; waits for others at work."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from consent.database import Database, DatabaseError, explain
from consent.ledger import ledgers
from sync import leases, receipts
from sync.delivery import End, Rules, Tenure, deliver
from sync.destinations import Destination, State, register, standing, wake_suspended
from sync.leases import Keeper
from sync.owed import aside_counts, owed, owed_everywhere, unclosed
from sync.workers import holder_name, take

log = structlog.get_logger()

#: A destination that stayed away for so many ledgers in a row isn't asked to take the others.
_AWAY_IN_A_ROW = 3


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
        with database.read() as tx:
            state = standing(tx, destination.name)
            names = [name for name in ledgers(tx) if destination.takes(name)]
        if state.state is State.PAUSED:
            synced.away, synced.code = True, "paused"
            synced.advice = f"paused by a person: run `assent destination resume {destination.name}`"
        else:
            _sync_ledgers(database, destination, names, rules, keeper, stop, synced, progress)
        with database.read() as tx:
            synced.owed = sum(share.count for share in owed_everywhere(tx, destination))
            counts = aside_counts(tx, destination.name)
        synced.set_aside, synced.refused = counts.get("waiting", 0), counts.get("refused", 0)
    except DBAPIError as error:
        log.warning("sync.database_away", destination=destination.name, error=type(error.orig).__name__)
        troubles.append(error)
    except Exception as error:
        log.exception("sync.failed", destination=destination.name)
        synced.away, synced.code = True, type(error).__name__
        synced.advice = "unexpected: see the log line sync.failed"


def _sync_ledgers(
    database: Database, destination: Destination, names: Sequence[str], rules: Rules, keeper: Keeper,
    stop: threading.Event, synced: Synced, progress: Callable[[str, Tenure], None] | None,
) -> None:  # fmt: skip
    holder, away = holder_name(), 0
    for name in names:
        tenure = _sync_ledger(database, destination, name, holder, rules, keeper, stop)
        synced.settled += tenure.settled
        away = away + 1 if tenure.end is End.AWAY and not tenure.settled else 0
        if progress is not None:
            progress(destination.name, tenure)
        if tenure.recovered:
            leases.hurry(database, destination.name)
        if tenure.end in (End.AWAY, End.SUSPENDED):
            synced.away, synced.code, synced.advice = True, tenure.code, tenure.advice
        if tenure.end is End.SUSPENDED or away >= _AWAY_IN_A_ROW:
            return


def _sync_ledger(
    database: Database, destination: Destination, organization: str, holder: str, rules: Rules, keeper: Keeper,
    stop: threading.Event,
) -> Tenure:  # fmt: skip
    total = Tenure()
    first = True
    while not stop.is_set():
        with database.read() as tx:
            left = owed(tx, destination, organization)
            to_close = unclosed(tx, destination, organization)
            waiting = first and _waiting(tx, organization, destination.name)
        if not (left.count or to_close or waiting):
            return total
        lease = take(database, destination, organization, holder, rules)
        if lease is None:  # somebody is at work, or died at it: what they leave is ours
            with database.read() as tx:
                life = leases.seconds_left(tx, organization, destination.name)
            stop.wait(min(max(life, 0.02), 0.25))
            continue
        tenure = deliver(database, destination, lease, keeper, rules, stop, everything=first)
        first = False
        total.settled += tenure.settled
        total.recovered = total.recovered or tenure.recovered
        total.end, total.code, total.advice = tenure.end, tenure.code, tenure.advice
        if tenure.end in (End.AWAY, End.SUSPENDED, End.STOPPED):
            return total
    return total


def _waiting(tx: Connection, organization: str, destination: str) -> bool:
    return bool(receipts.due(tx, organization, destination, until=None, never_after=0, limit=1))
