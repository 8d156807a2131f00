"""Status: for each destination in words what is owed, and for each ledger how large it is."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection

from consent import merkle
from consent.canonical import timestamp
from consent.database import Database, fetch, run
from consent.reviews import backlogs
from sync import receipts
from sync.alarms import open_alarms
from sync.budgets import budget_of
from sync.clock import database_now
from sync.destinations import Destination, Standing, State, standings
from sync.owed import Owed, aside_counts, oldest_owed, owed_everywhere

_MINUTE = 60_000_000
#: Batches of a lane that are looked at for the rate.
_NEWEST = 500

_STRANGE = (
    "a process was started whose settings don't name it, or switch it off: give all processes the same settings, and "
    "start them anew"
)


def status(database: Database, destinations: Sequence[Destination]) -> dict[str, Any]:
    """Return `{"destinations": […], "ledgers": […], "reviews": […]}` as `assent status --json` prints it."""
    with database.read() as tx:
        known = {standing.name: standing for standing in standings(tx)}
        configured = {destination.name: destination for destination in destinations}
        rows = [_row(tx, destination, known.get(destination.name)) for destination in destinations]
        rows += [_removed(standing) for name, standing in known.items() if name not in configured]
        ledgers = _ledgers(tx)
        waiting = backlogs(tx, database_now(tx))
        troubles = open_alarms(tx)
    return {
        "destinations": rows,
        "ledgers": ledgers,
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
            shares = owed_everywhere(tx, destination, oldest=True)
            oldest = oldest_owed(shares)
            for lane in destination.lanes:
                behind = sum(size - cursor for cursor, size in (share.lanes[lane] for share in shares))
                times = [oldest[lane]] if lane in oldest else []
                told.append((destination.name, lane.value, behind, _age(tx, times) or 0.0))
    return told


def _ledgers(tx: Connection) -> list[dict[str, Any]]:
    """Return each ledger's size and root, sorted by organization, in one query along the keys."""
    newest = "FROM head h WHERE h.organization = l.organization ORDER BY h.size DESC LIMIT 1"
    sql = f"SELECT l.organization, (SELECT h.size {newest}), (SELECT h.frontier {newest}) FROM ledger l ORDER BY 1"
    return [
        {"organization": name, "size": size or 0, "root": merkle.root(merkle.unpacked(frontier or b"")).hex()}
        for name, size, frontier in fetch(tx, sql)
    ]


def _row(tx: Connection, destination: Destination, standing: Standing | None) -> dict[str, Any]:
    shares = owed_everywhere(tx, destination, oldest=True)
    behind = sum(share.count for share in shares)
    asides = aside_counts(tx, destination)
    taken, parameters = destination.only_taken(tx, "organization")
    away = run(
        tx,
        f"""SELECT count(*) AS ledgers, min(advice) AS advice, min(code) AS code, min(away_since) AS since,
        min(due_at) AS due_at FROM lease WHERE destination = ? AND attempts > 0 AND {taken}""",
        [destination.name, *parameters],
    ).one()
    state, reason, since, next_try = _state(standing, behind, away)
    settled = sum(cursor for share in shares for cursor, _ in share.lanes.values()) - _skipped(tx, destination, shares)
    return {
        "name": destination.name,
        "state": state,
        "owed": behind,
        "oldest_owed_seconds": _age(tx, oldest_owed(shares).values()),
        "rate": _rate(tx, destination),
        "delivered": settled - sum(asides.values()),
        "set_aside": asides.get("waiting", 0),
        "refused": asides.get("refused", 0),
        "reason": reason,
        "since": None if since is None else timestamp(since),
        "next_try_at": None if next_try is None else timestamp(next_try),
        "budget": _budget(destination),
    }


def _budget(destination: Destination) -> dict[str, int] | None:
    """Return what is known of today's API calls; the remote's own words for more of it stand beside."""
    budget = budget_of(destination)
    return None if budget is None else {"used": budget.used, "limit": budget.limit, **budget.details}


def _state(standing: Standing | None, behind: int, away: Any) -> tuple[str, str | None, int | None, int | None]:
    """Return a destination's state and why; where it is in trouble, since when, and when it is tried by itself."""
    if standing is not None and standing.state is not State.OK:
        reason = _STRANGE if standing.state is State.REMOVED else standing.reason
        if standing.state is State.SUSPENDED and standing.until is not None:
            reason = f"{(reason or '').rstrip('.')}. It is tried again by itself at {timestamp(standing.until)[:16]}Z"
        return standing.state.value, reason, standing.since, standing.until
    if away.ledgers:
        return "retrying", f"{away.code}: {away.advice}", away.since, away.due_at or None
    return "catching_up" if behind else "ok", None, None, None


def _age(tx: Connection, times: Collection[int]) -> float | None:
    """Return for how long the first of these times has been past, in seconds; None where there are none."""
    return round(max(0, database_now(tx) - min(times)) / 1_000_000, 3) if times else None


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
    gone = standing.as_removed()
    return {
        "name": gone.name, "state": gone.state.value, "owed": 0, "oldest_owed_seconds": None, "rate": 0.0,
        "delivered": 0,
        "set_aside": 0, "refused": 0, "reason": gone.reason,
        "since": timestamp(gone.since) if gone == standing else None, "next_try_at": None, "budget": None,
    }  # fmt: skip
