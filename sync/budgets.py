"""Budgets: what is left today of the API of a destination that counts calls, and how long calls take there."""

import threading
import time
from collections.abc import Sequence
from itertools import pairwise, product
from typing import Protocol, runtime_checkable

from consent.database import Database, run
from consent.ledger import ledgers
from sync.destinations import Destination
from sync.port import Budget, SuspendedError, TransientError

#: Seconds between two receipts that don't belong to one run of deliveries.
_BREAK = 5.0
#: Receipts that are looked at to tell how long a batch takes.
_ENOUGH = 200


@runtime_checkable
class Metered(Protocol):
    """A connector to what counts calls."""

    def budget(self) -> Budget | None:
        """Return what the newest answer said; None before the first."""
        ...

    def ask_budget(self) -> Budget | None:
        """Ask, by one call; None where it isn't told."""
        ...


def budget_of(destination: Destination) -> Budget | None:
    """Return what is known of a destination's budget without asking; None where it has none."""
    connector = destination.connector
    return connector.budget() if isinstance(connector, Metered) else None


def ask_budgets(destinations: Sequence[Destination], seconds: float) -> None:
    """Let every connector that has a budget learn it; who hasn't answered after so many seconds isn't waited for."""
    # Daemons: a remote that stays mute must not keep the command that asks.
    asking = [
        threading.Thread(target=_ask, args=(destination.connector,), daemon=True)
        for destination in destinations
        if isinstance(destination.connector, Metered)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(seconds)


def calls_left(destination: Destination) -> int | None:
    """Ask how many calls are left today without what is kept for others; None where nobody counts or tells."""
    if not isinstance(destination.connector, Metered):
        return None
    _ask(destination.connector)
    budget = destination.connector.budget()
    return None if budget is None else max(0, budget.limit - budget.details.get("reserve", 0) - budget.used)


def seconds_per_call(database: Database, destination: Destination) -> float | None:
    """Return how long a full batch takes with as many in flight as there may be; None where nothing tells.

    The newest receipts tell, where full batches followed each other; where none did, one question that is timed.
    """
    capacity = destination.connector.capacity
    gaps: list[float] = []
    with database.read() as tx:
        names = [name for name in ledgers(tx) if destination.takes(name)]
        for name, lane in product(names, destination.lanes):
            rows = run(
                tx,
                """SELECT first, last, settled_at FROM receipt WHERE organization = ? AND destination = ? AND lane = ?
                ORDER BY first DESC LIMIT ?""",
                [name, destination.name, lane.value, _ENOUGH],
            )
            full = [row.settled_at / 1_000_000 for row in rows if row.last - row.first + 1 == capacity.batch]
            gaps += [gap for later, earlier in pairwise(full) if 0 < (gap := later - earlier) < _BREAK]
            if len(gaps) >= _ENOUGH:
                break
    if len(gaps) >= capacity.in_flight:
        return sum(gaps) / len(gaps)
    if not isinstance(destination.connector, Metered):
        return None
    started = time.monotonic()
    _ask(destination.connector)
    return (time.monotonic() - started) / capacity.in_flight


def _ask(connector: Metered) -> None:
    try:
        connector.ask_budget()
    except (SuspendedError, TransientError):
        return  # its state says so
