"""Status: for each destination in words what is owed, and for each ledger how large it is."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from consent.canonical import timestamp
from consent.database import Database, run
from consent.ledger import ledgers, newest_head, read_lane
from consent.reviews import backlogs
from sync import receipts
from sync.alarms import open_alarms
from sync.budgets import budget_of
from sync.clock import database_now
from sync.destinations import Destination, Standing, State, standings
from sync.owed import Owed, aside_counts, owed_everywhere

_MINUTE = 60_000_000
#: Batches of a lane that are looked at for the rate.
_NEWEST = 500


def status(database: Database, destinations: Sequence[Destination]) -> dict[str, Any]:
    """Return `{"destinations": […], "ledgers": […], "reviews": […]}` as `assent status --json` prints it."""
    with database.read() as tx:
        known = {standing.name: standing for standing in standings(tx)}
        names = ledgers(tx)
        configured = {destination.name: destination for destination in destinations}
        rows = [_row(tx, destination, known.get(destination.name)) for destination in destinations]
        rows += [_removed(standing) for name, standing in known.items() if name not in configured]
        heads = [newest_head(tx, name) for name in names]
        waiting = backlogs(tx, database_now(tx))
        troubles = open_alarms(tx)
    return {
        "destinations": rows,
        "ledgers": [{"organization": h.organization, "size": h.size, "root": h.root.hex()} for h in heads],
        "alerts": [
            {
                "since": timestamp(one.started_at),
                "kind": one.kind,
                "subject": one.subject,
                "what": one.what,
                "advice": one.advice,
            }
            for one in troubles
        ],
        "reviews": [
            {
                "organization": one.organization,
                "open": one.open,
                "overdue": one.overdue,
                "next_due_at": timestamp(one.next_due_at),
            }
            for one in waiting
        ],
    }


def lanes_of(database: Database, destinations: Sequence[Destination]) -> list[tuple[str, str, int, float]]:
    """Return for each lane of each destination what lies behind its cursor, and for how long the oldest of it has.

    As (destination, lane, entries, seconds).
    """
    told = []
    with database.read() as tx:
        for destination in destinations:
            shares = owed_everywhere(tx, destination)
            for lane in destination.lanes:
                of_lane = [Owed(share.organization, {lane.value: share.lanes[lane.value]}) for share in shares]
                behind = sum(share.count for share in of_lane)
                told.append((destination.name, lane.value, behind, _oldest(tx, of_lane) or 0.0))
    return told


def _row(tx: Connection, destination: Destination, standing: Standing | None) -> dict[str, Any]:
    shares = owed_everywhere(tx, destination)
    behind = sum(share.count for share in shares)
    asides = aside_counts(tx, destination.name)
    away = run(
        tx,
        """SELECT count(*) AS ledgers, min(advice) AS advice, min(code) AS code FROM lease
        WHERE destination = ? AND attempts > 0""",
        [destination.name],
    ).one()
    state, reason = _state(standing, behind, away.ledgers, f"{away.code}: {away.advice}")
    settled = sum(cursor for share in shares for cursor, _ in share.lanes.values()) - _skipped(tx, destination, shares)
    return {
        "name": destination.name,
        "state": state,
        "owed": behind,
        "oldest_owed_seconds": _oldest(tx, shares),
        "rate": _rate(tx, destination),
        "delivered": settled - sum(asides.values()),
        "set_aside": asides.get("waiting", 0),
        "refused": asides.get("refused", 0),
        "reason": reason,
        "budget": _budget(destination),
    }


def _budget(destination: Destination) -> dict[str, int] | None:
    """Return what is known of today's API calls; the remote's own words for more of it stand beside."""
    budget = budget_of(destination)
    return None if budget is None else {"used": budget.used, "limit": budget.limit, **budget.details}


def _state(standing: Standing | None, behind: int, away: int, trouble: str) -> tuple[str, str | None]:
    if standing is not None and standing.state is not State.OK:
        reason = ": ".join(part for part in (standing.code, standing.advice) if part)
        return standing.state.value, reason or None
    if away:
        return "retrying", trouble
    return ("catching_up", None) if behind else ("ok", None)


def _oldest(tx: Connection, shares: Sequence[Owed]) -> float | None:
    """Return how long the oldest owed entry has been recorded, in seconds; None if nothing is owed."""
    oldest = None
    for share in shares:
        for lane, (cursor, size) in share.lanes.items():
            if cursor < size:
                recorded_at = read_lane(tx, share.organization, lane, cursor, 1)[0].recorded_at
                oldest = recorded_at if oldest is None else min(oldest, recorded_at)
    return None if oldest is None else round(max(0, database_now(tx) - oldest) / 1_000_000, 3)


def _rate(tx: Connection, destination: Destination) -> float:
    """Return how many entries a second were settled over the last minute, of each lane's newest batches."""
    since, settled = database_now(tx) - _MINUTE, 0
    for lane in destination.lanes:
        # Lanes are names of a closed list, so that they may stand in the statement.
        newest = f"""FROM receipt WHERE organization = l.organization AND destination = ? AND lane = '{lane.value}'
        ORDER BY first DESC LIMIT"""
        sql = f"""SELECT sum((SELECT sum(r.last - r.first + 1)
            FROM (SELECT first, last, settled_at {newest} {_NEWEST}) r WHERE r.settled_at > ?))
        FROM ledger l WHERE (SELECT settled_at {newest} 1) > ?"""
        settled += int(run(tx, sql, [destination.name, since, destination.name, since]).scalar() or 0)
    return round(settled / 60, 1)


def _skipped(tx: Connection, destination: Destination, shares: Sequence[Owed]) -> int:
    """Return how many entries lie before a destination's `from = "now"`."""
    if not destination.from_now:
        return 0
    return sum(
        receipts.skipped(tx, share.organization, destination.name, lane) for share in shares for lane in share.lanes
    )  # fmt: skip


def _removed(standing: Standing) -> dict[str, Any]:
    return {
        "name": standing.name, "state": standing.state.value, "owed": 0, "oldest_owed_seconds": None, "rate": 0.0,
        "delivered": 0,
        "set_aside": 0, "refused": 0, "reason": standing.advice, "budget": None,
    }  # fmt: skip
