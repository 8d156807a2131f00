"""What is owed: for one ledger by a few look-ups, for all of them by one query that goes along the keys.

Nothing here counts entries: what is owed is a lane's size less its cursor, and both are the newest row of their kind.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from consent.database import among, fetch
from consent.ledger import newest_head
from sync import receipts
from sync.clock import clock
from sync.destinations import Destination
from sync.retry import LONGEST_SECONDS

#: A due time further away than any wait comes from a clock that was set back since: it counts as due.
BEYOND = int(LONGEST_SECONDS * 1_000_000)
_DAY = 86_400_000_000
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Owed:
    """What one destination is owed of one ledger."""

    organization: str
    #: By lane: (cursor, size).
    lanes: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: By lane that is owed something, where it was asked for: when the oldest of it was recorded, microseconds.
    oldest: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Entries behind the cursors."""
        return sum(size - cursor for cursor, size in self.lanes.values())


def owed(tx: Connection, destination: Destination, organization: str) -> Owed:
    """Return what a destination is owed of a ledger, by one look-up a lane."""
    head = newest_head(tx, organization)
    return Owed(organization, {
        lane.value: (receipts.cursor(tx, organization, destination.name, lane), head.lanes[lane])
        for lane in destination.lanes
    })  # fmt: skip


def owed_everywhere(tx: Connection, destination: Destination, *, oldest: bool = False) -> list[Owed]:
    """Return what a destination is owed of each ledger that it takes, sorted by organization, in one query.

    With `oldest` also since when: that reads an entry of each lane that is owed something.
    """
    lanes, every = [lane.value for lane in destination.lanes], 3 if oldest else 2
    columns = ", ".join(
        f"{_cursor(lane)}, {_size(lane)}" + (f", {_recorded(lane)}" if oldest else "") for lane in lanes
    )
    names = [destination.name] * len(lanes) * (every - 1)
    rows = fetch(tx, f"SELECT l.organization, {columns} FROM ledger l ORDER BY 1", names)
    return [
        Owed(
            row[0],
            {lane: (row[at], row[at + 1]) for at, lane in zip(range(1, len(row), every), lanes, strict=True)},
            {lane: row[at] for at, lane in zip(range(3, len(row), 3), lanes, strict=True) if row[at] is not None}
            if oldest else {},
        )
        for row in rows if destination.takes(row[0])
    ]  # fmt: skip


def oldest_owed(shares: Sequence[Owed]) -> dict[str, int]:
    """Return by lane when the oldest entry of all that is owed was recorded, microseconds."""
    found: dict[str, int] = {}
    for share in shares:
        for lane, at in share.oldest.items():
            found[lane] = min(at, found.get(lane, at))
    return found


def with_work(tx: Connection, destination: Destination, names: Collection[str] | None = None) -> list[str]:
    """Return the ledgers, of these or of all, that have something for a destination that may be tried now."""
    name, lanes = destination.name, [lane.value for lane in destination.lanes]
    chosen, some = ("", []) if names is None else among(tx, "l.organization", list(names))
    sql = f"""SELECT l.organization FROM ledger l
    LEFT JOIN lease ON lease.organization = l.organization AND lease.destination = ?
    CROSS JOIN (SELECT {clock(tx)} AS now) AS at
    WHERE {f"{chosen} AND" if chosen else ""} (lease.due_at IS NULL OR lease.due_at <= at.now OR lease.due_at > at.now + {BEYOND})
    AND ({_behind(lanes)} OR {_unclosed(lanes)} OR (SELECT 1 FROM set_aside a
        WHERE a.organization = l.organization AND a.destination = ? AND a.state = 'waiting'
        AND (a.due_at <= at.now OR a.due_at > at.now + {BEYOND}) LIMIT 1) IS NOT NULL)
    ORDER BY 1"""  # noqa: E501
    parameters = [name, *some, *[name] * len(lanes), *[name] * _named_by_unclosed(lanes), name]
    return [row[0] for row in fetch(tx, sql, parameters) if destination.takes(row[0])]


def with_something(tx: Connection, destination: Destination) -> list[str]:
    """Return the ledgers that owe a destination something, or have to tell it how far they are, due or not."""
    name, lanes = destination.name, [lane.value for lane in destination.lanes]
    sql = f"""SELECT l.organization FROM ledger l
    LEFT JOIN lease ON lease.organization = l.organization AND lease.destination = ?
    CROSS JOIN (SELECT {clock(tx)} AS now) AS at WHERE {_behind(lanes)} OR {_unclosed(lanes)} ORDER BY 1"""
    parameters = [name, *[name] * len(lanes), *[name] * _named_by_unclosed(lanes)]
    return [row[0] for row in fetch(tx, sql, parameters) if destination.takes(row[0])]


def with_waiting(tx: Connection, destination: Destination) -> list[str]:
    """Return the ledgers of which something is set aside and waits for its next attempt, due or not."""
    sql = """SELECT l.organization FROM ledger l WHERE EXISTS (SELECT 1 FROM set_aside a
    WHERE a.organization = l.organization AND a.destination = ? AND a.state = 'waiting') ORDER BY 1"""
    return [row[0] for row in fetch(tx, sql, [destination.name]) if destination.takes(row[0])]


def unclosed(tx: Connection, destination: Destination, organization: str) -> bool:
    """Tell whether a destination has to be told how far it is: it took something since, or a day has passed."""
    name, lanes = destination.name, [lane.value for lane in destination.lanes]
    sql = f"""SELECT 1 FROM ledger l
    LEFT JOIN lease ON lease.organization = l.organization AND lease.destination = ?
    CROSS JOIN (SELECT {clock(tx)} AS now) AS at WHERE l.organization = ? AND {_unclosed(lanes)}"""
    return bool(fetch(tx, sql, [name, organization, *[name] * _named_by_unclosed(lanes)]))


def aside_counts(
    tx: Connection, destination: Destination, of: Collection[str] | None = None, *, code: str | None = None
) -> dict[str, int]:
    """Return how many entries wait, were refused and discarded: of all ledgers, or `of` some, that a destination takes.

    With `code`, those of this cause. What was set aside of a ledger or lane that it takes no more is kept and listed,
    and waits for nobody.
    """
    # Ledger by ledger along the key, so that nobody reads what other destinations set aside.
    states = ("waiting", "refused", "discarded")
    lanes = ", ".join(f"'{lane.value}'" for lane in destination.lanes)
    cause, causes = ("", []) if code is None else (" AND a.code = ?", [code])
    counts = ", ".join(
        "coalesce(sum((SELECT count(*) FROM set_aside a WHERE a.organization = l.organization"
        f" AND a.destination = ? AND a.lane IN ({lanes}) AND a.state = '{state}'{cause})), 0)" for state in states
    )  # fmt: skip
    taken, parameters = destination.only_taken(tx, "l.organization", of)
    sql = f"SELECT {counts} FROM ledger l WHERE {taken}"
    [row] = fetch(tx, sql, [destination.name, *causes] * len(states) + parameters)
    return {state: int(count) for state, count in zip(states, row, strict=True) if count}


def _cursor(lane: str) -> str:
    return f"coalesce((SELECT r.last FROM receipt r {_newest_receipt(lane)}), -1) + 1"


def _size(lane: str) -> str:
    newest = "FROM head h WHERE h.organization = l.organization ORDER BY h.size DESC LIMIT 1"
    return f"coalesce((SELECT h.{lane} {newest}), 0)"


def _recorded(lane: str) -> str:
    # Where nothing is owed there is no entry at the cursor.
    at = f"e.organization = l.organization AND e.lane = '{lane}' AND e.pos = {_cursor(lane)}"
    return f"(SELECT e.recorded_at FROM entry e WHERE {at})"


def _behind(lanes: Sequence[str]) -> str:
    return " OR ".join(f"{_cursor(lane)} < {_size(lane)}" for lane in lanes)


def _settled(lane: str) -> str:
    return f"coalesce((SELECT r.settled_at FROM receipt r {_newest_receipt(lane)}), 0)"


def _newest_receipt(lane: str) -> str:
    # Lanes are names of a closed list, so that they may stand in the statement.
    return f"WHERE r.organization = l.organization AND r.destination = ? AND r.lane = '{lane}' ORDER BY r.first DESC LIMIT 1"  # noqa: E501


def _unclosed(lanes: Sequence[str]) -> str:
    """Return the condition; a closing time ahead of the clock is one from before it was set back."""
    settled = [_settled(lane) for lane in lanes]
    told = "coalesce(lease.closed_at, 0)"
    later = " OR ".join(f"{told} < {one}" for one in settled)
    some = " OR ".join(f"{one} > 0" for one in settled)
    ahead = " AND ".join(f"{told} <> {one}" for one in settled)
    return f"({later} OR (({some}) AND ({told} < at.now - {_DAY} OR ({told} > at.now + {_SECOND} AND {ahead}))))"


def _named_by_unclosed(lanes: Sequence[str]) -> int:
    return 3 * len(lanes)
