"""How fast entries came to a destination, and how long each had been waiting: read from its receipts.

Nothing is measured while delivering. A receipt says when a batch was settled, and its first entry when it was
recorded: the rest is arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from consent.database import among, fetch
from consent.ledger import ledgers, newest_head, read_lane
from sync import receipts
from sync.destinations import Destination

#: Receipts of one lane that are looked at, the newest ones.
_MOST = 2_000


@dataclass(slots=True)
class Tick:
    """One stretch of time of a chart."""

    #: When it begins, microseconds since 1970.
    at: int
    entries: int = 0
    #: The longest that an entry settled in it had waited, seconds; None where none was settled.
    lag: float | None = None


@dataclass(frozen=True, slots=True)
class Behind:
    """What a destination is owed of one lane of one ledger."""

    organization: str
    lane: str
    cursor: int
    size: int
    #: When the oldest owed entry was recorded, microseconds since 1970; None where nothing is owed.
    oldest: int | None

    @property
    def owed(self) -> int:
        """Entries behind the cursor."""
        return self.size - self.cursor


def pace(
    tx: Connection,
    destination: Destination,
    since: int,
    until: int,
    ticks: int,
    organizations: Sequence[str] | None = None,
) -> list[Tick]:
    """Return what was settled between two instants, in so many stretches of equal length."""
    width = max(1, (until - since) // ticks)
    found = [Tick(since + at * width) for at in range(ticks)]
    for name in ledgers(tx):
        if destination.takes(name) and (organizations is None or name in organizations):
            for lane in destination.lanes:
                _add(tx, destination.name, name, lane.value, since, width, found)
    return found


def behind(tx: Connection, destination: Destination, organizations: Sequence[str] | None = None) -> list[Behind]:
    """Return each lane of each ledger that a destination takes, with what is owed and since when."""
    found = []
    for name in ledgers(tx):
        if not destination.takes(name) or (organizations is not None and name not in organizations):
            continue
        sizes = newest_head(tx, name).lanes
        for lane in destination.lanes:
            cursor = receipts.cursor(tx, name, destination.name, lane)
            oldest = read_lane(tx, name, lane, cursor, 1)[0].recorded_at if cursor < sizes[lane] else None
            found.append(Behind(name, lane.value, cursor, sizes[lane], oldest))
    return found


def _add(
    tx: Connection, destination: str, organization: str, lane: str, since: int, width: int, found: list[Tick]
) -> None:  # fmt: skip
    rows = fetch(
        tx,
        """SELECT first, last, settled_at FROM receipt WHERE organization = ? AND destination = ? AND lane = ?
        AND settled_at >= ? ORDER BY first DESC LIMIT ?""",
        [organization, destination, lane, since, _MOST],
    )
    #: By stretch: the batch whose first entry is the oldest one; receipts are settled in the order of positions.
    oldest: dict[int, tuple[int, int]] = {}
    for first, last, settled_at in rows:
        at = min((settled_at - since) // width, len(found) - 1)
        found[at].entries += last - first + 1
        oldest[at] = (first, settled_at)
    recorded = _recorded(tx, organization, lane, [first for first, _ in oldest.values()])
    for at, (first, settled_at) in oldest.items():
        if first in recorded:
            lag = max(0.0, (settled_at - recorded[first]) / 1_000_000)
            found[at].lag = max(lag, found[at].lag or 0.0)


def _recorded(tx: Connection, organization: str, lane: str, positions: Sequence[int]) -> dict[int, int]:
    if not positions:
        return {}
    condition, parameters = among(tx, "pos", list(positions))
    sql = f"SELECT pos, recorded_at FROM entry WHERE organization = ? AND lane = ? AND {condition}"
    return {row[0]: row[1] for row in fetch(tx, sql, [organization, lane, *parameters])}
